import type { Socket } from 'node:net'
import { plainAddress } from '../addresses.ts'
import { execute } from './commands.ts'
import { failure, type Reply } from './replies.ts'
import { type Command, type ParserLimits, ProtocolError, RequestParser } from './request-parser.ts'
import { type Shared, Visitor } from './visitor.ts'

/** What bounds the memory of connections. */
export interface ConnectionLimits {
  /** Largest session in bytes. */
  readonly maxValue: number
  /** Shared by all connections of the gateway. */
  readonly memory: Memory
}

/** Bytes in flight between clients and the database: commands until they are done, replies until they are taken. */
export interface Memory {
  readonly max: number
  held: number
}

/** What a client may send before it has given the password. */
const UNAUTHENTICATED: ParserLimits = { argument: 1024, arguments: 8, command: 2048 }

/** Bytes of a command besides the data of a session: its name, the key, options. */
const COMMAND_OVERHEAD = 64 * 1024

/** Seconds from the connection to the password. */
const PASSWORD_TIMEOUT = 10

/** Seconds that a client has to complete a command that it has begun, and to take a reply. */
const TIMEOUT = 30

/** Milliseconds that a client has to close the connection after its last reply. */
const LINGER = 1000

const MEMORY_EXCEEDED = 'the memory for commands in flight is exhausted, try again later'

/** One connection: reads commands and replies to them one after the other, within limits of time and memory. */
export class Connection {
  readonly #socket: Socket
  readonly #memory: Memory
  readonly #visitor: Visitor
  readonly #parser: RequestParser
  /** What a client may send after it has given the password. */
  readonly #parserLimits: ParserLimits
  /** Since when the client has been expected to complete a command, or to take a reply. */
  #waitingSince: number | undefined
  readonly #admit: () => boolean
  /** True once it counts as a client: it has sent the password and a command. */
  #isAdmitted = false
  readonly #connectedAt = performance.now()
  #lastCommandAt = performance.now()
  #isBusy = false
  /** Settles when the commands that have arrived have been answered. */
  #work: Promise<void> | undefined
  /** The client will send no more. */
  #inputHasEnded = false
  /** There was no memory for what the client sent. */
  #memoryExceeded = false
  /** The gateway is closing. */
  #isDraining = false
  /** Nothing more is answered. */
  #isOver = false
  /** Bytes of this connection in `Memory.held`. */
  #held = 0

  /** @param admit called before the first command with the password; returns false if there are too many clients */
  constructor(socket: Socket, shared: Shared, { maxValue, memory }: ConnectionLimits, admit: () => boolean) {
    this.#socket = socket
    this.#memory = memory
    this.#admit = admit
    this.#visitor = new Visitor(shared, plainAddress(socket.remoteAddress))
    this.#parserLimits = { argument: maxValue, arguments: 1024, command: maxValue + COMMAND_OVERHEAD }
    this.#parser = new RequestParser(this.#visitor.isAuthenticated ? this.#parserLimits : UNAUTHENTICATED)
  }

  /** Resolves when the connection has closed. Never rejects. */
  async serve(): Promise<void> {
    const socket = this.#socket
    socket.on('data', this.#receive)
    socket.on('end', () => {
      this.#inputHasEnded = true
      if (!this.#isBusy) socket.end()
    })
    if (!socket.destroyed) await new Promise<void>((resolve) => socket.once('close', () => resolve()))
    await this.#work
    this.#hold(0)
    await this.#visitor.leave()
  }

  /** Closes after the commands that have arrived, and after the end of a PHP request in progress. */
  drain(): void {
    this.#isDraining = true
    if (!this.#isBusy && !this.#visitor.isInRequest) this.#socket.end(() => this.#socket.destroy())
  }

  /** Closes at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  /**
   * Closes a connection whose client exceeded a timeout; to be called every second.
   *
   * @param idleTimeout seconds without a command
   */
  checkTimeouts(now: number, idleTimeout: number): void {
    const lacksPassword = !this.#visitor.isAuthenticated && now - this.#connectedAt > PASSWORD_TIMEOUT * 1000
    const isSlow = this.#waitingSince !== undefined && now - this.#waitingSince > TIMEOUT * 1000
    const isIdle = !this.#isBusy && now - this.#lastCommandAt > idleTimeout * 1000
    if (lacksPassword || isSlow || isIdle) this.#socket.destroy()
    else if (this.#isDraining) this.drain()
  }

  /** Counts bytes as held by this connection. @returns false if that is more than all connections may hold */
  #hold(bytes: number): boolean {
    const memory = this.#memory
    memory.held += bytes - this.#held
    this.#held = bytes
    return bytes === 0 || memory.held <= memory.max
  }

  readonly #receive = (chunk: Buffer): void => {
    // After the last reply, input is read and discarded: a reset would discard that reply at the client.
    if (this.#isOver) return
    if (this.#hold(this.#held + chunk.length)) this.#parser.add(chunk)
    else this.#memoryExceeded = true
    // One command at a time; more input waits in the socket.
    if (this.#isBusy) this.#socket.pause()
    else this.#work = this.#serveCommands()
  }

  /** Answers the commands that have arrived. Never rejects. */
  async #serveCommands(): Promise<void> {
    const visitor = this.#visitor
    this.#isBusy = true
    try {
      for (let command = this.#next(); command !== undefined; command = this.#next()) {
        this.#lastCommandAt = performance.now()
        this.#waitingSince = undefined
        if (!this.#isAdmitted && visitor.isAuthenticated) {
          this.#isAdmitted = this.#admit()
          if (!this.#isAdmitted) {
            this.#socket.write(failure('ERR max number of clients reached'))
            this.#isOver = true
            break
          }
        }
        const reply = await execute(visitor, command)
        if (visitor.isAuthenticated) this.#parser.limits = this.#parserLimits
        if (visitor.isDone) this.#isOver = true
        if (!this.#socket.write(reply)) await this.#taken(reply)
      }
    } catch (error) {
      // The message of any other error may hold what no client should see.
      if (error instanceof ProtocolError) {
        this.#socket.write(failure(`ERR Protocol error: ${error.message}`))
        visitor.logProtocolError(error.message, this.#parser.received)
      }
      this.#isOver = true
    }
    this.#isBusy = false
    this.#hold(this.#parser.held)
    // Further bytes of the same command do not extend the timeout.
    if (this.#parser.midway) this.#waitingSince ??= performance.now()
    if (this.#isDraining && !visitor.isInRequest) this.#isOver = true
    if (this.#isOver) {
      this.#hold(0)
      this.#socket.end()
      setTimeout(() => this.#socket.destroy(), LINGER).unref()
    } else if (this.#inputHasEnded) this.#socket.end()
    this.#socket.resume()
  }

  #next(): Command | undefined {
    if (this.#isOver) return undefined
    if (this.#memoryExceeded) throw new ProtocolError(MEMORY_EXCEEDED)
    return this.#parser.next()
  }

  /** Waits until a slow client has taken a reply. */
  async #taken(reply: Reply): Promise<void> {
    this.#waitingSince = performance.now()
    const hasMemory = this.#hold(this.#held + reply.length)
    if (!hasMemory) this.#socket.destroy()
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
    this.#waitingSince = undefined
    this.#hold(this.#held - reply.length)
  }
}
