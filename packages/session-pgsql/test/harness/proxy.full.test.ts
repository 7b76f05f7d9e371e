import { createServer, type Server, Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { sleep, until } from '../support/wait.ts'

let server: Server
let received: string[]
let peers: Set<Socket>
let proxy: FaultyProxy
let clients: Client[]

/** Answers each message with `re:` and the message. */
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
  readonly heard: string[] = []
  error: NodeJS.ErrnoException | undefined
  ended = false

  constructor() {
    clients.push(this)
    this.socket.on('data', (chunk) => this.heard.push(chunk.toString()))
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

  /** Says it and waits for the answer. */
  async ask(text: string): Promise<void> {
    this.socket.write(text)
    await until(() => this.heard.includes(`re:${text}`), `an answer to ${text}`)
  }
}

test('passes everything on, the end too', async () => {
  const client = await new Client().connect()
  await client.ask('hello')
  expect(proxy.connections).toBe(1)
  client.socket.end()
  await until(() => client.ended, 'the goodbye')
  await until(() => proxy.connections === 0 && peers.size === 0, 'the connections to end')
  expect(proxy.accepted).toBe(1)
})

test('silence: connections stay open, new ones too, nothing passes; late bytes arrive at the end', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.silence()
  client.socket.write('during')
  const second = await new Client().connect()
  second.socket.write('second')
  await sleep(100)
  expect(client.heard).toEqual(['re:before'])
  expect(second.heard).toEqual([])
  expect([client.error, second.error]).toEqual([undefined, undefined])
  expect(received).toEqual(['before'])

  // Who gives up is not noticed on the other side, and what it sent is still under way.
  client.socket.resetAndDestroy()
  await sleep(50)
  expect(peers.size).toBe(2)
  await proxy.resume()
  await until(() => received.includes('during'), 'late bytes')
  await until(() => second.heard.includes('re:second'), 'the second answer')
  await until(() => peers.size === 1, 'the server to see the end')
})

test('holdServerReplies: the server hears, the client does not', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.holdServerReplies()
  client.socket.write('during')
  await until(() => received.includes('during'), 'the server to hear')
  await sleep(50)
  expect(client.heard).toEqual(['re:before'])
  proxy.drop()
  await until(() => client.error, 'the reset')
  expect(client.heard).toEqual(['re:before'])

  const second = await new Client().connect()
  second.socket.write('again')
  await until(() => received.includes('again'), 'the server to hear')
  await proxy.resume()
  await until(() => second.heard.includes('re:again'), 'the answer held back')
})

test('drop: RST to both sides; bytes held back are lost; the next connection is good', async () => {
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

test('refuse: no new connections, old ones go on; resume listens at the same port', async () => {
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

test('delay: everything arrives in order, later', async () => {
  const client = await new Client().connect()
  await client.ask('before')
  proxy.delay(80)
  const start = performance.now()
  client.socket.write('x')
  await sleep(20)
  client.socket.write('y')
  await until(() => client.heard.join('').includes('re:y'), 'the answers')
  expect(performance.now() - start).toBeGreaterThan(160)
  expect(received.slice(1).join('')).toBe('xy')
})

test('a server that is away resets the client', async () => {
  for (const peer of peers) peer.destroy()
  server.close()
  const client = await new Client().connect()
  await until(() => client.error, 'the reset')
})
