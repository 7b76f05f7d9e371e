import { createHash, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { SessionPgsqlError } from 'session-pgsql'
import { COMMANDS, CommandError, type Served } from './commands.ts'
import type { Key } from './key.ts'
import type { Locks } from './locks.ts'
import type { Figures } from './metrics.ts'
import type { Notes } from './pending-metadata.ts'
import type { PhpSide, Sessions } from './php-side.ts'
import { type AllReads, type KnownSession, type LeftReads, Reads } from './reads.ts'
import { failure, isFailure, type Reply } from './replies.ts'
import { type Command, ProtocolError, RequestParser } from './request-parser.ts'

/** What all connections of a gateway share. */
export interface Shared {
  readonly sessions: Sessions
  readonly php: PhpSide
  readonly password: string | undefined
  /** Most bytes of one session. */
  readonly maxValue: number
  readonly reads: AllReads
  readonly left: LeftReads
  readonly memory: Memory
  readonly locks: Locks
  readonly notes: Notes
  /** Asks the database something; rejects if it does not answer. */
  ping(): Promise<void>
  readonly figures: Figures
}

/** Bytes that are on their way between clients and the database: commands that are not done, answers not taken. */
export interface Memory {
  readonly most: number
  held: number
}

/** Most bytes of sessions that one connection remembers. */
const REMEMBERED = 8 * 1024 * 1024

/** What a client may send before it has given the password. */
const STRANGER = { argument: 1024, arguments: 8, command: 2048 }

/** In the metrics: what was asked for is not served, or not to this client. */
const REFUSED = 'REFUSED'

/** Passwords that a connection may try. */
const TRIES = 5

/** Seconds for giving the password, for a command that has begun to be whole, and for taking an answer. */
const PATIENCE = { password: 10, command: 30, answer: 30 }

/** Seconds after a read for which a client that has not written is taken for a request under way. */
const REQUEST = 5

const TOO_MUCH = 'the gateway has too much on its way, try again later'

/** Milliseconds that a client is given to hang up after its last answer. */
const GOODBYE = 1000

/** One connection: reads commands, answers them one after the other. */
export class Client {
  readonly shared: Shared
  readonly reads: Reads
  /** When it has read a session that it has not written since, by `performance.now()`. */
  hasRead: number | undefined
  readonly #socket: Socket
  readonly #parser: RequestParser
  #welcome: boolean
  #tries = 0
  /** Since when it has been waited for what PATIENCE names; undefined: for nothing. */
  #waiting: { readonly what: keyof typeof PATIENCE; readonly since: number } | undefined
  #lastCommand = performance.now()
  #busy = false
  /** The last commands that were answered, or are. */
  #work: Promise<void> | undefined
  /** The client will send no more. */
  #hasEnded = false
  /** There was no room for what it has sent. */
  #isTooMuch = false
  /** It has been asked to leave. */
  #leaving = false
  /** It is over: nothing more is answered. */
  #over = false
  /** Bytes of it in `shared.memory`. */
  #holding = 0

  constructor(socket: Socket, shared: Shared) {
    this.#socket = socket
    this.shared = shared
    this.reads = new Reads(REMEMBERED, shared.reads)
    this.#welcome = shared.password === undefined
    this.#parser = new RequestParser(this.#welcome ? this.#limits : STRANGER)
    if (!this.#welcome) this.#waitFor('password')
  }

  /** Resolves when the connection has ended. Never rejects. */
  async serve(): Promise<void> {
    const socket = this.#socket
    socket.on('data', this.#take)
    socket.on('end', () => {
      this.#hasEnded = true
      if (!this.#busy) socket.end()
    })
    if (!socket.destroyed) await new Promise<void>((resolve) => socket.once('close', () => resolve()))
    await this.#work
    this.#hold(0)
    this.shared.left.leave(this.reads)
    await this.shared.locks.abandon(this)
  }

  /** Ends when what is under way has been answered; a request of PHP that has read its session may still write it. */
  leave(): void {
    this.#leaving = true
    if (!this.#busy && !this.#inRequest) this.#socket.end(() => this.#socket.destroy())
  }

  /** Ends at once. */
  end(): void {
    this.#socket.destroy()
  }

  /** Ends a client that is too slow, or silent for longer than `idle` seconds. */
  check(now: number, idle: number): void {
    const waiting = this.#waiting
    const slow = waiting !== undefined && now - waiting.since > PATIENCE[waiting.what] * 1000
    if (slow || (!this.#busy && now - this.#lastCommand > idle * 1000)) this.#socket.destroy()
    else if (this.#leaving) this.leave()
  }

  /** Says whether this was the password; after it the client is welcome. */
  authenticate(password: Buffer): boolean {
    const expected = this.shared.password
    if (expected === undefined) {
      throw new CommandError('ERR AUTH was sent, but this gateway has no password')
    }
    const digest = (value: string | Buffer): Buffer => createHash('sha256').update(value).digest()
    if (!timingSafeEqual(digest(password), digest(expected))) {
      if (++this.#tries >= TRIES) this.#over = true
      return false
    }
    this.#welcome = true
    this.#waiting = undefined
    this.#parser.limits = this.#limits
    return true
  }

  /** Whether it has given the password, or none is wanted. */
  get welcome(): boolean {
    return this.#welcome
  }

  /** The answer to this command is the last one. */
  quit(): void {
    this.#over = true
  }

  /** What the next write of this key is a change of; undefined if nobody knows. */
  known(key: Key): KnownSession | undefined {
    const own = this.reads.get(key.text)
    if (own !== undefined) return own
    const left = this.shared.left.take(key.text)
    if (left !== undefined) this.reads.set(key.text, left)
    return left
  }

  get #limits(): RequestParser['limits'] {
    // Beside a session there is its key, and what else stands in a command.
    return { argument: this.shared.maxValue, arguments: 1024, command: this.shared.maxValue + 64 * 1024 }
  }

  get #inRequest(): boolean {
    const hasRead = this.hasRead !== undefined && performance.now() - this.hasRead < REQUEST * 1000
    return hasRead || this.shared.locks.has(this)
  }

  /** @returns whether there is room for so many bytes */
  #hold(bytes: number): boolean {
    const { memory } = this.shared
    memory.held += bytes - this.#holding
    this.#holding = bytes
    return bytes === 0 || memory.held <= memory.most
  }

  readonly #take = (chunk: Buffer): void => {
    // After the last answer what comes is thrown away: a reset would take that answer from the client.
    if (this.#over) return
    if (this.#hold(this.#holding + chunk.length)) this.#parser.add(chunk)
    else this.#isTooMuch = true
    // One command after the other: the client may have to wait with what it sends meanwhile.
    if (this.#busy) this.#socket.pause()
    else this.#work = this.#serveCommands()
  }

  /** Answers what has come. Never rejects. */
  async #serveCommands(): Promise<void> {
    this.#busy = true
    try {
      for (let command = this.#next(); command !== undefined; command = this.#next()) {
        this.#lastCommand = performance.now()
        if (this.#welcome) this.#waiting = undefined
        const reply = await this.#answer(command)
        if (!this.#socket.write(reply)) await this.#taken(reply)
      }
    } catch (error) {
      // Of anything else nobody is told what it was.
      if (error instanceof ProtocolError) this.#socket.write(failure(`ERR Protocol error: ${error.message}`))
      this.#over = true
    }
    this.#busy = false
    this.#hold(this.#parser.held)
    if (this.#welcome && this.#parser.midway) this.#waitFor('command')
    if (this.#leaving && !this.#inRequest) this.#over = true
    if (this.#over) {
      this.#hold(0)
      this.#socket.end()
      setTimeout(() => this.#socket.destroy(), GOODBYE).unref()
    } else if (this.#hasEnded) this.#socket.end()
    this.#socket.resume()
  }

  #next(): Command | undefined {
    if (this.#over) return undefined
    if (this.#isTooMuch) throw new ProtocolError(TOO_MUCH)
    return this.#parser.next()
  }

  #waitFor(what: keyof typeof PATIENCE): void {
    if (this.#waiting?.what !== what) this.#waiting = { what, since: performance.now() }
  }

  /** Never rejects: what went wrong is the answer. */
  async #answer([first, ...given]: Command): Promise<Reply> {
    const name = first?.toString('latin1').toUpperCase() ?? ''
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
    const begun = performance.now()
    let failed: string | undefined
    try {
      const reply = await this.#run(name, command, given)
      if (isFailure(reply)) failed = REFUSED
      return reply
    } catch (error) {
      failed =
        error instanceof SessionPgsqlError ? error.code : error instanceof CommandError ? REFUSED : '_OTHER'
      if (error instanceof CommandError) return failure(error.message)
      // Messages of the library hold neither data nor ids nor passwords.
      if (error instanceof SessionPgsqlError) return failure(`ERR ${error.code} ${error.message}`)
      return failure('ERR internal error')
    } finally {
      const seconds = (performance.now() - begun) / 1000
      this.shared.figures.command(command === undefined ? 'unknown' : name, seconds, failed)
    }
  }

  #run(name: string, command: Served | undefined, given: readonly Buffer[]): Promise<Reply> | Reply {
    if (!this.#welcome && command?.forStrangers !== true) {
      return failure('NOAUTH Authentication required.')
    }
    if (command === undefined) return failure(`ERR unknown command '${printable(name)}'`)
    const [least, most] = command.count
    if (given.length < least || given.length > most) {
      return failure(`ERR wrong number of arguments for '${name.toLowerCase()}' command`)
    }
    return command.run(this, given)
  }

  /** Waits until the client has taken an answer, which it is slow to do. */
  async #taken(reply: Reply): Promise<void> {
    this.#waitFor('answer')
    const isRoom = this.#hold(this.#holding + reply.length)
    if (!isRoom) this.#socket.destroy()
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done)
        this.#socket.off('close', done)
        resolve()
      }
      this.#socket.on('drain', done)
      this.#socket.on('close', done)
      if (this.#socket.destroyed) done()
    })
    this.#waiting = undefined
    this.#hold(this.#holding - reply.length)
  }
}

function printable(text: string): string {
  return text.slice(0, 32).replaceAll(/[^\x20-\x7e]/g, '?')
}
