import { connect, type Socket } from 'node:net'

/** A client that sends and receives raw bytes. */
export class Talk {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  #wake: () => void = () => {}

  /** @param place a port of this machine, or the path of a socket */
  constructor(place: number | string) {
    this.socket =
      typeof place === 'string' ? connect(place) : connect({ host: '127.0.0.1', port: place, noDelay: true })
    this.socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.#ended = true
      this.#wake()
    })
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }

  /** Sends a command and waits for its reply. */
  async ask(...words: (string | Buffer)[]): Promise<string> {
    this.send(command(...words))
    return this.answer()
  }

  /** Returns the next reply as its bytes; an array is one reply. Empty: the connection has closed. */
  async answer(): Promise<string> {
    const deadline = Date.now() + 20_000
    for (;;) {
      const length = lengthOf(this.#received, 0)
      if (length !== undefined) {
        const answer = this.#received.toString('utf8', 0, length)
        this.#received = this.#received.subarray(length)
        return answer
      }
      if (this.#ended) return ''
      if (Date.now() > deadline) throw new Error('no reply within 20 s')
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Returns all replies until the connection closes. */
  async rest(): Promise<string> {
    let all = ''
    for (let answer = await this.answer(); answer !== ''; answer = await this.answer()) all += answer
    return all
  }

  end(): void {
    this.socket.destroy()
  }
}

export function command(...words: (string | Buffer)[]): Buffer {
  const parts = words.map((word) => (typeof word === 'string' ? Buffer.from(word) : word))
  return Buffer.concat([
    Buffer.from(`*${parts.length}\r\n`),
    ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')]),
  ])
}

/** Returns the length of the reply that begins at `from`; undefined if it is not complete. */
function lengthOf(bytes: Buffer, from: number): number | undefined {
  const end = bytes.indexOf('\r\n', from)
  if (end < 0) return undefined
  const line = end + 2
  const count = Number(bytes.toString('latin1', from + 1, end))
  const kind = String.fromCharCode(bytes[from] ?? 0)
  if (kind === '$') {
    const whole = count < 0 ? line : line + count + 2
    return whole <= bytes.length ? whole : undefined
  }
  let at = line
  if (kind === '*') {
    for (let item = 0; item < count; item++) {
      const next = lengthOf(bytes, at)
      if (next === undefined) return undefined
      at = next
    }
  }
  return at
}
