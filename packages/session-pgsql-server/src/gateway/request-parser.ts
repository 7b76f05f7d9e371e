/**
 * Reads commands as a client sends them: RESP arrays of bulk strings. Of the lines of words that Redis takes too, PING
 * alone is one: any other is the beginning of another protocol. A page that somebody has open on this machine, or a
 * service that fetches what it is told, can make HTTP out of what looks like commands, and nothing but the first line of
 * it tells.
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
  /** Most bytes of all arguments of one command. */
  readonly command: number
}

/** The client does not speak the protocol, or wants too much: it is told so, and the connection ends. */
export class ProtocolError extends Error {}

const CR = 13
const LF = 10
const STAR = 0x2a
const DOLLAR = 0x24

/** Longest line: a length, or PING. */
const MAX_LINE = 1024

const PING = /^ping$/i

const EMPTY: Buffer = Buffer.alloc(0)

export class RequestParser {
  limits: ParserLimits
  /** What has come and is not read yet. */
  readonly #input = new Input()
  /** Arguments of the command that is being read, and how many are still to come. */
  #command: Buffer[] = []
  #missing = 0
  /** Bytes of those that are there, or announced. */
  #weight = 0
  /** Bytes of the argument that is being read; undefined: its length is next. */
  #size: number | undefined

  constructor(limits: ParserLimits) {
    this.limits = limits
  }

  /** Whether a command has begun and not ended. */
  get midway(): boolean {
    return this.#input.length > 0 || this.#missing > 0
  }

  /** Bytes that have come of commands that are not whole. */
  get held(): number {
    return this.#weight - (this.#size ?? 0) + this.#input.length
  }

  /** Takes what has come. */
  add(chunk: Buffer): void {
    this.#input.add(chunk)
  }

  /**
   * The next command, if it is there as a whole.
   *
   * @throws ProtocolError
   */
  next(): Command | undefined {
    for (;;) {
      if (this.#size !== undefined) {
        if (this.#input.length < this.#size + 2) return undefined
        this.#command.push(this.#takeArgument(this.#size))
        this.#size = undefined
        this.#missing--
      } else {
        const line = this.#takeLine()
        if (line === undefined) return undefined
        if (this.#missing > 0) {
          if (line[0] !== DOLLAR) throw new ProtocolError(`expected '$', got '${shown(line)}'`)
          this.#size = this.#number(line, this.limits.argument, 'bulk length')
          this.#weight += this.#size
          if (this.#weight > this.limits.command) {
            throw new ProtocolError(`a command is more than ${this.limits.command} bytes`)
          }
          continue
        }
        if (line[0] !== STAR) {
          if (line.length === 0) continue
          if (!PING.test(line.toString('latin1'))) {
            throw new ProtocolError(`expected '*', got '${shown(line)}'`)
          }
          return [line]
        }
        this.#missing = this.#number(line, this.limits.arguments, 'multibulk length')
        this.#command = []
      }
      if (this.#missing === 0 && this.#command.length > 0) {
        const command = this.#command
        this.#command = []
        this.#weight = 0
        return command
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
    const bytes = this.#input.take(size + 2)
    if (bytes[size] !== CR || bytes[size + 1] !== LF)
      throw new ProtocolError('expected CRLF after an argument')
    return bytes.subarray(0, size)
  }

  #takeLine(): Buffer | undefined {
    const end = this.#input.indexOf(LF, MAX_LINE)
    if (end < 0) {
      if (this.#input.length >= MAX_LINE) throw new ProtocolError('a line is too long')
      return undefined
    }
    const line = this.#input.take(end + 1)
    return line.subarray(0, line[end - 1] === CR ? end - 1 : end)
  }
}

/**
 * Bytes that wait. A chunk that comes when nothing does is taken as it is. Otherwise it is copied behind what
 * waits, into twice the room: however small the pieces are in which a client sends, each byte is copied a few
 * times, and the room is at most twice what has come.
 */
class Input {
  #bytes: Buffer = EMPTY
  #start = 0
  #end = 0
  /** Whether the room behind the end is ours. */
  #own = false

  get length(): number {
    return this.#end - this.#start
  }

  add(chunk: Buffer): void {
    if (this.length === 0) {
      this.#bytes = chunk
      this.#start = 0
      this.#end = chunk.length
      this.#own = false
      return
    }
    if (!this.#own || this.#end + chunk.length > this.#bytes.length) {
      // Never moved within the same room: arguments that were taken lie in it.
      const bytes = Buffer.allocUnsafeSlow(2 * (this.length + chunk.length))
      this.#bytes.copy(bytes, 0, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
      this.#bytes = bytes
      this.#own = true
    }
    chunk.copy(this.#bytes, this.#end)
    this.#end += chunk.length
  }

  /** Where this byte is first, among so many; -1 if it is not. */
  indexOf(byte: number, most: number): number {
    return this.#bytes.subarray(this.#start, Math.min(this.#end, this.#start + most)).indexOf(byte)
  }

  take(size: number): Buffer {
    const taken = this.#bytes.subarray(this.#start, this.#start + size)
    this.#start += size
    // The room is not held for nothing.
    if (this.#start === this.#end) this.#bytes = EMPTY
    return taken
  }
}

function shown(line: Buffer): string {
  return line.toString('latin1', 0, 1).replace(/[^\x20-\x7e]/, '?')
}
