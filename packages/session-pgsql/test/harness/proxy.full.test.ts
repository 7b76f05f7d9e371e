import { createServer, type Server, Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { sleep, until } from '../support/wait.ts'

let server: Server
let received: string[]
let peers: Set<Socket>
let proxy: FaultyProxy
let clients: Client[]

/** Starts a server that answers each message with `re:` and the message. */
beforeEach(async () => {
  received = []
  peers = new Set()
  clients = []
  server = createServer((socket) => {
    peers.add(socket)
    socket.on('close', () => peers.delete(socket))
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received.push(chunk.toString())
      socket.write(`re:${chunk}`)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  proxy = await startProxy({ host: '127.0.0.1', port })
})

afterEach(async () => {
  for (const client of clients) client.socket.destroy()
  await proxy.stop()
  server.close()
  for (const peer of peers) peer.destroy()
})

class Client {
  readonly socket = new Socket()
  readonly replies: string[] = []
  error: NodeJS.ErrnoException | undefined
  ended = false

  constructor() {
    clients.push(this)
    this.socket.on('data', (chunk) => this.replies.push(chunk.toString()))
    this.socket.on('end', () => {
      this.ended = true
    })
    this.socket.on('error', (error) => {
      this.error = error
    })
  }

  async connect(): Promise<this> {
    this.socket.connect(proxy.port, proxy.host)
    await until(() => this.error !== undefined || this.socket.readyState === 'open', 'the client to connect')
    return this
  }

  /** Sends the text and waits for the answer. */
  async ask(text: string): Promise<void> {
    this.socket.write(text)
    await until(() => this.replies.includes(`re:${text}`), `an answer to ${text}`)
  }
}

test('passes on all data and the end of the connection', async () => {
  const client = await new Client().connect()
  await client.ask('hello')
  expect(proxy.connections).toBe(1)
  client.socket.end()
  await until(() => client.ended, 'the end of the connection')
  await until(() => proxy.connections === 0 && peers.size === 0, 'the connections to end')
  expect(proxy.accepted).toBe(1)
})

test('silence: keeps old and new connections open and passes no data; resume delivers the held data', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.silence()
  client.socket.write('during')
  const second = await new Client().connect()
  second.socket.write('second')
  await sleep(100)
  expect(client.replies).toEqual(['re:before'])
  expect(second.replies).toEqual([])
  expect([client.error, second.error]).toEqual([undefined, undefined])
  expect(received).toEqual(['before'])

  // The server does not see that the client has ended, and the client's data is still delivered.
  client.socket.resetAndDestroy()
  await sleep(50)
  expect(peers.size).toBe(2)
  await proxy.resume()
  await until(() => received.includes('during'), 'late bytes')
  await until(() => second.replies.includes('re:second'), 'the second answer')
  await until(() => peers.size === 1, 'the server to see the end')
})

test('holdServerReplies: the server receives data, but the client receives no replies', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.holdServerReplies()
  client.socket.write('during')
  await until(() => received.includes('during'), 'the server to receive it')
  await sleep(50)
  expect(client.replies).toEqual(['re:before'])
  proxy.drop()
  await until(() => client.error, 'the reset')
  expect(client.replies).toEqual(['re:before'])

  const second = await new Client().connect()
  second.socket.write('again')
  await until(() => received.includes('again'), 'the server to receive it')
  await proxy.resume()
  await until(() => second.replies.includes('re:again'), 'the held reply')
})

test('drop: resets both sides and loses the held data; the next connection works', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.silence()
  client.socket.write('during')
  await sleep(50)
  proxy.drop()
  await until(() => client.error, 'the reset')
  expect(client.error?.code).toBe('ECONNRESET')
  await until(() => peers.size === 0, 'the server to be reset')
  await proxy.resume()
  await (await new Client().connect()).ask('after')
  expect(received).toEqual(['before', 'after'])
})

test('refuse: rejects new connections and keeps old ones; resume listens on the same port', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  const { port } = proxy
  await proxy.refuse()
  const refused = await new Client().connect()
  expect(refused.error?.code).toBe('ECONNREFUSED')
  await client.ask('still there')
  await proxy.resume()
  expect(proxy.port).toBe(port)
  await (await new Client().connect()).ask('after')
})

test('delay: delivers data later, in order', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.delay(80)
  const start = performance.now()
  client.socket.write('x')
  await sleep(20)
  client.socket.write('y')
  await until(() => client.replies.join('').includes('re:y'), 'the answers')
  expect(performance.now() - start).toBeGreaterThan(160)
  expect(received.slice(1).join('')).toBe('xy')
})

test('the client is reset if the server is unreachable', async () => {
  for (const peer of peers) peer.destroy()
  server.close()
  const client = await new Client().connect()
  await until(() => client.error, 'the reset')
})
