import { createServer, type Server } from 'node:net'
import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'

/** A message of PostgreSQL's protocol: kind, length, body. */
function message(kind: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(kind)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** One packet of a server that accepts a client and then terminates the connection. */
const ACCEPT_AND_TERMINATE = Buffer.concat([
  message('R', Buffer.alloc(4)),
  message('Z', Buffer.from('I')),
  message('E', Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0')),
])

test('a connection that the server ends in the packet that opens it fails the call, not the process', async () => {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(ACCEPT_AND_TERMINATE))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const sessions = new SaveHandler({
    db: `host=127.0.0.1 port=${port} user=nobody dbname=none sslmode=disable`,
    gcInterval: 0,
  })
  try {
    // An 'error' event without a listener would be an uncaught exception, which fails the test run.
    for (let round = 0; round < 20; round++) {
      await expect(sessions.read('id')).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    }
  } finally {
    await sessions.close()
    server.close()
  }
})
