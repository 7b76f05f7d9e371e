import { createServer, type Server } from 'node:net'
import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'

/** A message of PostgreSQL's protocol: its kind, its length, its body. */
function message(kind: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(kind)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** What a server sends that lets a client in and is told to end in the same moment: one packet. */
const IN_AND_OUT = Buffer.concat([
  message('R', Buffer.alloc(4)),
  message('Z', Buffer.from('I')),
  message('E', Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0')),
])

test('a connection that is ended in the packet that opens it is an error of the call, not of the process', async () => {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(IN_AND_OUT))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const sessions = new SaveHandler({
    db: `host=127.0.0.1 port=${port} user=nobody dbname=none sslmode=disable`,
    gcInterval: 0,
  })
  try {
    // An 'error' event without a listener would be an uncaught exception, which fails the run.
    for (let round = 0; round < 20; round++) {
      await expect(sessions.read('id')).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    }
  } finally {
    await sessions.close()
    server.close()
  }
})
