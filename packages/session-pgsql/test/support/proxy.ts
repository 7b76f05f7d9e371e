import { createServer, type Server, Socket } from 'node:net'
import { freePort } from './connect.ts'

/**
 * A TCP proxy that fails on demand, to stand between a client and a server. Each mode lasts until another is
 * chosen; `resume` ends them all.
 */
export interface FaultyProxy {
  readonly host: string
  readonly port: number
  /** How many clients are connected now. */
  readonly connections: number
  /** How many clients ever were. */
  readonly accepted: number
  /**
   * A network that swallows everything: connections stay open, new ones are accepted, no byte passes, and
   * neither side learns that the other is gone. What was swallowed is delivered by `resume`, as late bytes are.
   */
  silence(): void
  /** The connections that are open now go silent for good, as after a suspended machine wakes up; new ones work. */
  forget(): void
  /** Bytes reach the server, its replies are held back: the statement is done, the answer is lost. */
  holdServerReplies(): void
  /** Destroys all connections with RST. Bytes held back are lost; the next connection is as good as before. */
  drop(): void
  /** Takes no new connections (ECONNREFUSED); those that are open go on. */
  refuse(): Promise<void>
  /** Every byte arrives this much later, in both directions. */
  delay(ms: number): void
  /** Back to normal: what was held back is delivered, connections are accepted, no delay. */
  resume(): Promise<void>
  stop(): Promise<void>
}

export async function startProxy(target: { host: string; port: number }): Promise<FaultyProxy> {
  const links = new Set<Link>()
  const state: State = { hold: 'nothing', delay: 0 }
  let accepted = 0

  const accept = (client: Socket) => {
    accepted++
    const link = new Link(client, target, state)
    links.add(link)
    link.whenClosed(() => links.delete(link))
  }
  // Not one that an outgoing connection could be given while nobody listens there.
  let server = await listen(accept, await freePort())
  const { port } = server.address() as { port: number }
  const flush = () => {
    for (const link of links) link.flush()
  }

  return {
    host: '127.0.0.1',
    port,
    get connections() {
      return [...links].filter((link) => link.clientIsOpen).length
    },
    get accepted() {
      return accepted
    },
    silence() {
      state.hold = 'all'
    },
    forget() {
      for (const link of links) link.forgotten = true
    },
    holdServerReplies() {
      state.hold = 'replies'
      flush()
    },
    drop() {
      for (const link of links) link.reset()
    },
    async refuse() {
      // Its callback waits for the connections; listening ends at once.
      server.close()
    },
    delay(ms) {
      state.delay = ms
    },
    async resume() {
      state.hold = 'nothing'
      state.delay = 0
      if (!server.listening) server = await listen(accept, port)
      flush()
    },
    async stop() {
      server.close()
      for (const link of links) link.reset()
    },
  }
}

interface State {
  hold: 'nothing' | 'replies' | 'all'
  delay: number
}

/** One client's connection and the connection to the server that belongs to it. */
class Link {
  forgotten = false
  readonly #client: Socket
  readonly #server: Socket
  readonly #pipes: Pipe[]

  constructor(client: Socket, target: { host: string; port: number }, state: State) {
    this.#client = client
    this.#server = new Socket({ allowHalfOpen: true })
    this.#pipes = [
      new Pipe(client, this.#server, state, () => this.forgotten || state.hold === 'all'),
      new Pipe(this.#server, client, state, () => this.forgotten || state.hold !== 'nothing'),
    ]
    this.#server.connect(target.port, target.host)
    client.setNoDelay(true)
    this.#server.setNoDelay(true)
  }

  get clientIsOpen(): boolean {
    return !this.#client.destroyed
  }

  whenClosed(call: () => void): void {
    const check = () => {
      if (this.#client.destroyed && this.#server.destroyed) call()
    }
    this.#client.on('close', check)
    this.#server.on('close', check)
  }

  flush(): void {
    for (const pipe of this.#pipes) pipe.flush()
  }

  reset(): void {
    for (const pipe of this.#pipes) pipe.discard()
    for (const socket of [this.#client, this.#server]) {
      if (!socket.destroyed) socket.resetAndDestroy()
    }
  }
}

/**
 * One direction. It always reads, and keeps in memory what it must not pass on: a socket that was merely paused
 * would lose its bytes when the other side resets, and would not be a late delivery any more.
 */
class Pipe {
  readonly #to: Socket
  readonly #state: State
  readonly #held: () => boolean
  #queue: { due: number; send: () => void }[] = []
  #timer: NodeJS.Timeout | undefined
  #over = false

  constructor(from: Socket, to: Socket, state: State, held: () => boolean) {
    this.#to = to
    this.#state = state
    this.#held = held
    from.on('data', (chunk) => this.#push(() => to.write(chunk)))
    from.on('end', () => this.#push(() => to.end()))
    from.on('error', () => this.#push(() => to.destroyed || to.resetAndDestroy()))
    // After a whole goodbye in both directions: what has not been passed on yet may still be.
    from.on('close', () => this.#push(() => to.end()))
  }

  #push(send: () => void): void {
    if (this.#over) return
    this.#queue.push({ due: performance.now() + this.#state.delay, send })
    this.flush()
  }

  flush(): void {
    clearTimeout(this.#timer)
    while (!this.#held()) {
      const [next] = this.#queue
      if (next === undefined) return
      const early = this.#state.delay === 0 ? 0 : next.due - performance.now()
      if (early > 0) {
        this.#timer = setTimeout(() => this.flush(), Math.ceil(early))
        return
      }
      this.#queue.shift()
      if (!this.#to.destroyed && !this.#to.writableEnded) next.send()
    }
  }

  discard(): void {
    this.#over = true
    this.#queue = []
    clearTimeout(this.#timer)
  }
}

async function listen(accept: (client: Socket) => void, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, accept)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return server
}
