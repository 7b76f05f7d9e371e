/**
 * Parses commands as clients send them: RESP arrays of bulk strings. Of Redis' inline commands it accepts PING only. Any
 * other line is the start of another protocol: a web page open on this machine, or a service that fetches a given URL,
 * can send HTTP whose body looks like commands, and only its first line tells them apart.
 *
 * Strict, and written for this gateway, because it reads the input of unauthenticated clients. The parsers of Redis'
 * clients (redis-parser, the one of node-redis) read the replies of a server that they trust: they allocate an array of
 * the announced length before its elements arrive, recurse as deep as it is nested, and have no limits.
 */

/** A command: its name and its arguments, as bytes. */
export type Command = readonly Buffer[]

export interface ParserLimits {
  /** Most bytes of one argument. */
  readonly argument: number
  /** Most arguments of one command, including its name. */
  readonly arguments: number
  /** Most bytes of all arguments of one command. */
  readonly command: number
}

/** The input is not the protocol, or exceeds a limit. The message is sent to the client; then the connection closes. */
export class ProtocolError extends Error {}

const CR = 13
const LF = 10
const STAR = 0x2a
const DOLLAR = 0x24

/** Longest line in bytes: a length, or PING. */
const MAX_LINE = 1024

const PING = /^ping$/i

const EMPTY: Buffer = Buffer.alloc(0)

export class RequestParser {
  /** May be replaced between two commands. */
  limits: ParserLimits
  /** Received, and not parsed yet. */
  readonly #input = new Input()
  /** Arguments of the current command. */
  #command: Buffer[] = []
  /** How many of its arguments are missing. */
  #missing = 0
  /** Bytes of its arguments, as announced. */
  #commandBytes = 0
  /** Bytes of the current argument; undefined: its length is next. */
  #size: number | undefined

  constructor(limits: ParserLimits) {
    this.limits = limits
  }

  /** True if a part of a command has been received. */
  get midway(): boolean {
    return this.#input.length > 0 || this.#missing > 0
  }

  /** Received bytes of commands that are not complete. */
  get held(): number {
    return this.#commandBytes - (this.#size ?? 0) + this.#input.length
  }

  /** The arguments that have been received of a command that is not complete, or that is refused. */
  get received(): Command {
    return this.#command
  }

  /** Adds received bytes. */
  add(chunk: Buffer): void {
    this.#input.add(chunk)
  }

  /**
   * Returns the next command; undefined if it is not complete.
   *
   * @throws ProtocolError; nothing can be parsed after it
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
          this.#commandBytes += this.#size
          if (this.#commandBytes > this.limits.command) {
            throw new ProtocolError(`the command is longer than ${this.limits.command} bytes`)
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
        this.#commandBytes = 0
        return command
      }
    }
  }

  #number(line: Buffer, max: number, what: string): number {
    const text = line.toString('latin1', 1)
    if (!/^\d{1,10}$/.test(text)) throw new ProtocolError(`invalid ${what}`)
    const value = Number(text)
    if (value > max) throw new ProtocolError(`${what} is more than ${max}`)
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
      if (this.#input.length >= MAX_LINE) throw new ProtocolError('the line is too long')
      return undefined
    }
    const line = this.#input.take(end + 1)
    return line.subarray(0, line[end - 1] === CR ? end - 1 : end)
  }
}

/**
 * A buffer of received bytes. If it is empty, a chunk is used without a copy. Otherwise the chunk is appended to a copy
 * with twice the capacity that is needed: however small a client's chunks are, each byte is copied a few times, and the
 * capacity is at most twice what was received.
 */
class Input {
  #bytes: Buffer = EMPTY
  #start = 0
  #end = 0
  /** True if the capacity after the end may be written to: `#bytes` is a copy, not a chunk. */
  #isCopy = false

  get length(): number {
    return this.#end - this.#start
  }

  add(chunk: Buffer): void {
    if (this.length === 0) {
      this.#bytes = chunk
      this.#start = 0
      this.#end = chunk.length
      this.#isCopy = false
      return
    }
    if (!this.#isCopy || this.#end + chunk.length > this.#bytes.length) {
      // Bytes are never moved within a buffer, because arguments that were taken are views of it.
      const bytes = Buffer.allocUnsafeSlow(2 * (this.length + chunk.length))
      this.#bytes.copy(bytes, 0, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
      this.#bytes = bytes
      this.#isCopy = true
    }
    chunk.copy(this.#bytes, this.#end)
    this.#end += chunk.length
  }

  /** Returns the position of a byte within the first `max` bytes; -1 if it is not among them. */
  indexOf(byte: number, max: number): number {
    return this.#bytes.subarray(this.#start, Math.min(this.#end, this.#start + max)).indexOf(byte)
  }

  /** Removes the first bytes and returns them. */
  take(size: number): Buffer {
    const taken = this.#bytes.subarray(this.#start, this.#start + size)
    this.#start += size
    // Releases the memory.
    if (this.#start === this.#end) this.#bytes = EMPTY
    return taken
  }
}

/** The first character of a line: it tells the protocol, and holds no data. */
function shown(line: Buffer): string {
  return line.toString('latin1', 0, 1).replace(/[^\x20-\x7e]/, '?')
}
