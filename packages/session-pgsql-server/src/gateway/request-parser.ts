/**
 * Reads commands as a client sends them: RESP arrays of bulk strings, or a line of words, as typed by a person.
 *
 * Strict, and of our own, because it stands in front of strangers: the parsers that Redis' clients use
 * (redis-parser, that of node-redis) read a server's answers, which they trust. They make an array as long as
 * was announced before its elements are there, go down as deep as it is nested, and know no limit.
 */

/** One command: its name and its arguments, as bytes. */
export type Command = readonly Buffer[]

export interface ParserLimits {
  /** Most bytes of one argument. */
  readonly argument: number
  /** Most arguments of one command, its name included. */
  readonly arguments: number
}

/** The client does not speak the protocol, or wants too much: it is told so, and the connection ends. */
export class ProtocolError extends Error {}

const CR = 13
const LF = 10
const STAR = 0x2a
const DOLLAR = 0x24

/** Longest line: a length, or a command typed by hand. */
const MAX_LINE = 1024

export class RequestParser {
  limits: ParserLimits
  /** What has come and is not read yet. Joined only when a line or an argument is complete. */
  #chunks: Buffer[] = []
  #length = 0
  /** Arguments of the command that is being read, and how many are still to come. */
  #command: Buffer[] = []
  #missing = 0
  /** Bytes of the argument that is being read; undefined: its length is next. */
  #size: number | undefined

  constructor(limits: ParserLimits) {
    this.limits = limits
  }

  /** Whether a command has begun and not ended. */
  get midway(): boolean {
    return this.#length > 0 || this.#missing > 0
  }

  /**
   * The commands that are complete with this chunk.
   *
   * @throws ProtocolError after what was right before it was given
   */
  *feed(chunk: Buffer): Generator<Command> {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    for (;;) {
      if (this.#size !== undefined) {
        // Nothing is joined before it is whole: a slow client would have it copied again and again.
        if (this.#length < this.#size + 2) return
        this.#command.push(this.#takeArgument(this.#size))
        this.#size = undefined
        this.#missing--
      } else {
        const line = this.#takeLine()
        if (line === undefined) return
        if (this.#missing > 0) {
          if (line[0] !== DOLLAR) throw new ProtocolError(`expected '$', got '${shown(line)}'`)
          this.#size = this.#number(line, this.limits.argument, 'bulk length')
          continue
        }
        if (line[0] !== STAR) {
          const words = line.toString('latin1').trim().split(/\s+/).filter(Boolean)
          if (words.length > 0) yield words.map((word) => Buffer.from(word, 'latin1'))
          continue
        }
        this.#missing = this.#number(line, this.limits.arguments, 'multibulk length')
        this.#command = []
      }
      if (this.#missing === 0 && this.#command.length > 0) {
        const command = this.#command
        this.#command = []
        yield command
      }
    }
  }

  #number(line: Buffer, most: number, what: string): number {
    const text = line.toString('latin1', 1)
    if (!/^\d{1,10}$/.test(text)) throw new ProtocolError(`invalid ${what}`)
    const value = Number(text)
    if (value > most) throw new ProtocolError(`${what} is more than ${most}`)
    return value
  }

  #takeArgument(size: number): Buffer {
    const bytes = this.#take(size + 2)
    if (bytes[size] !== CR || bytes[size + 1] !== LF)
      throw new ProtocolError('expected CRLF after an argument')
    return bytes.subarray(0, size)
  }

  #takeLine(): Buffer | undefined {
    // A line is short: what is there of it lies in the first bytes.
    const first = this.#peek(MAX_LINE)
    const end = first.indexOf(LF)
    if (end < 0) {
      if (first.length >= MAX_LINE) throw new ProtocolError('a line is too long')
      return undefined
    }
    const line = this.#take(end + 1)
    return line.subarray(0, line[end - 1] === CR ? end - 1 : end)
  }

  #peek(most: number): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && (this.#chunks.length === 1 || first.length >= most)) return first
    const all = Buffer.concat(this.#chunks)
    this.#chunks = [all]
    return all
  }

  #take(size: number): Buffer {
    let [first] = this.#chunks
    if (first === undefined || (first.length < size && this.#chunks.length > 1)) {
      first = Buffer.concat(this.#chunks)
      this.#chunks = [first]
    }
    this.#length -= size
    if (first.length === size) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(size)
    return first.subarray(0, size)
  }
}

function shown(line: Buffer): string {
  return line.toString('latin1', 0, 1).replace(/[^\x20-\x7e]/, '?')
}
