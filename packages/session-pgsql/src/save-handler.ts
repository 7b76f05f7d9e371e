import { EventEmitter } from 'node:events'
import type { Codec, MergingCodec } from './codec/codec.ts'
import { codecNamed } from './codec/codecs.ts'
import {
  announce,
  type DestroyMessage,
  type ReadMessage,
  type TouchMessage,
  traced,
  tracing,
} from './diagnostics.ts'
import { SessionPgsqlError } from './errors.ts'
import { Collector, Garbage } from './handler/gc.ts'
import { type Line, Lines } from './handler/id-queue.ts'
import { Journal } from './handler/journal.ts'
import { again, destroy, settleApart, write } from './handler/write.ts'
import type {
  ErrorLevel,
  HandlerStatus,
  JournalEntry,
  SaveHandlerEvents,
  ServerDue,
  ServerSweep,
  SessionErrors,
  TouchOptions,
  WriteOptions,
  WriteOutcome,
  WriteResult,
} from './operations.ts'
import { readPhpIni } from './php-ini.ts'
import type { Server } from './servers/server.ts'
import { Servers } from './servers/servers.ts'
import { checkLifetime, checkText, invalid, marksOf } from './session/checks.ts'
import type { CountOptions, ListedSession, ListOptions, SessionPage } from './session/filter.ts'
import { createId, storedId } from './session/id.ts'
import { infoOf, type SessionInfo, SessionRecord } from './session/record.ts'
import type { ServerStatistics } from './session/statistics.ts'
import { type Marks, remaining, type StoredSession, type Touch } from './session/stored.ts'
import {
  describeSettings,
  resolveSettings,
  type SaveHandlerOptions,
  type Settings,
  type SettingsSources,
} from './settings/settings.ts'
import type { Answer } from './table/answers.ts'
import { readNotes, writeNote } from './table/journal.ts'
import { countSessions, listSessions, mergePages, timeLimitOf } from './table/listing.ts'
import { lockOwner, releaseLock, takeLock } from './table/locks.ts'
import { tableStatistics } from './table/statistics.ts'

type TouchOutcome = NonNullable<TouchMessage['outcome']>

/** Most operations that may be under way or waiting; past them: OVERLOADED. */
const MAX_PENDING = 16_384

/** Most characters of data in them. */
const MAX_PENDING_WEIGHT = 256 * 1024 * 1024

/**
 * The PostgreSQL session save handler.
 *
 * Every method that goes to the database rejects with a `SessionPgsqlError` and nothing else, within
 * `operationTimeout`. What is asked for one id is done in the order in which it was asked.
 */
export class SaveHandler<Data = Record<string, unknown>> extends EventEmitter<SaveHandlerEvents> {
  readonly #settings: Settings<Data>
  readonly #codec: MergingCodec<Data>
  readonly #servers: Servers
  readonly #lines: Lines = new Lines()
  readonly #garbage: Garbage
  readonly #collector: Collector
  readonly #journal: Journal
  #pending = 0
  #pendingWeight = 0
  #idle: (() => void) | undefined
  #closed: Promise<void> | undefined
  #errorLogged = false

  /**
   * Checks the options and connects to nothing.
   *
   * @param options see `SaveHandlerOptions`; what is left out comes from the environment, then the defaults
   * @param sources where else settings come from; `fromIni` fills it
   * @throws INVALID_OPTION
   */
  constructor(options: SaveHandlerOptions<Data> = {}, sources: SettingsSources = {}) {
    super()
    const settings = resolveSettings(options, sources)
    this.#settings = settings
    this.#codec = codecNamed<Data>(settings.codec)
    this.#servers = new Servers(settings.db, settings, {
      handler: this,
      onDown: (server, error) => this.#tell('serverDown', { server, error }),
      onUp: (server) => this.#tell('serverUp', { server }),
      onFailover: (event) => {
        this.#journal.failover(event)
        this.#tell('failover', event)
      },
      onPromotion: (event) => {
        this.#journal.promoted(event)
        this.#tell('promoted', event)
      },
      onArrival: (event) => {
        this.#journal.broughtHome(event)
        this.#tell('broughtHome', event)
      },
      onError: (error) => this.#report(error),
      merge: (mine, theirs, seen) => this.#settleApart(mine, theirs, seen),
    })
    this.#journal = new Journal(
      (server, ...note) => writeNote(this.#servers.named(server).table, ...note),
      (error) => settings.logger.debug('something that has happened could not be noted', error),
    )
    this.#garbage = new Garbage(this.#servers, settings, this, (event) => {
      this.#journal.gc(event)
      this.#tell('gc', event)
    })
    this.#collector = new Collector(settings.gcInterval, () =>
      this.gc().catch((error) => this.#report(error)),
    )
  }

  /**
   * A save handler set by a php.ini: `session_pgsql.*`, `session.gc_maxlifetime`, `session.name`.
   *
   * @param path of the php.ini
   * @param options come before the php.ini, and that before the environment
   * @throws INVALID_OPTION
   */
  static fromIni<Data = Record<string, unknown>>(
    path: string,
    options: SaveHandlerOptions<Data> = {},
  ): SaveHandler<Data> {
    return new SaveHandler(options, { ini: readPhpIni(path) })
  }

  /**
   * Connects to every server, looks at its table and creates it where it is missing and may be. The first use
   * does so too; a failure is not kept, the next use tries again.
   */
  async open(): Promise<void> {
    await this.#everywhere((server) => server.table.open(this.#deadline()))
  }

  /**
   * What is stored under this id and has not expired; undefined if there is nothing, or if this cannot be an
   * id (it never reaches the database then).
   *
   * @throws UNDECODABLE if the stored data is not what the codec writes: never an empty session
   */
  async read(id: string): Promise<SessionRecord<Data> | undefined> {
    const stored = await this.#read(id)
    return stored && new SessionRecord(stored, this.#codec)
  }

  /** Writes a session. See `WriteOptions` for what it does about what others have written. */
  write(id: string, data: Data, options: WriteOptions<Data> = {}): Promise<WriteResult<Data>> {
    if (!tracing.write.hasSubscribers) return this.#write(id, data, options)
    return traced(
      tracing.write,
      { handler: this },
      () => this.#write(id, data, options),
      ({ outcome }) => ({ outcome }),
    )
  }

  async #write(id: string, data: Data, options: WriteOptions<Data>): Promise<WriteResult<Data>> {
    // Until the first await everything is made fast: what the caller changes afterwards is not meant.
    this.#demandId(id)
    const text = this.#codec.encode(data)
    const base = this.#baseOf(id, options.base)
    const seen = options.seen === undefined ? (base?.text ?? '') : this.#codec.encode(options.seen)
    const { address, name = this.#settings.name, access = true, conflict } = options
    if (address !== undefined) checkText('address', address)
    checkText('name', name)
    if (conflict !== undefined && conflict !== 'error') throw invalid("Expected conflict to be 'error'.")
    const marks = marksOf(options)
    const lifetimeOf = this.#lifetimeOf(options.lifetime)
    const lifetime = lifetimeOf(data)

    if (base !== undefined && this.#settings.shortCircuit && text === seen) {
      const { outcome, stored } = await this.#refresh(id, base, { lifetime, access, marks })
      return this.#result(outcome, stored, text)
    }
    const written = await this.#operate(id, text.length, (line, deadline) =>
      write(this.#servers.sessions, line, {
        id: storedId(id),
        text,
        seen,
        base: base ?? (options.base as null | 'existing' | undefined),
        change: (next) => ({
          id: storedId(id),
          text: next,
          lifetime: this.#stretched(next === text ? lifetime : lifetimeOf(this.#codec.decode(next))),
          access,
          address: address ?? null,
          name,
          marks,
        }),
        codec: this.#codec,
        conflict: conflict ?? this.#settings.conflict,
        deadline,
        onConflict: () => this.#tell('conflict', { id }),
      }),
    )
    if (written.outcome === 'gone') this.#tell('gone', { id })
    return this.#result(written.outcome, written.stored, text)
  }

  /**
   * A copy of the data as a read would give it after a write: it stays what it is whatever becomes of the
   * original. For adapters, which must write later what they are given now.
   *
   * @throws INVALID_DATA
   */
  snapshot(data: Data): Data {
    return this.#codec.decode(this.#codec.encode(data))
  }

  /**
   * Moves the expiry, counts an access, and records the custom field and errors if they are given; the data
   * is never written. An id that is not there stays absent.
   *
   * @returns whether there was one
   */
  async touch(id: string, options: TouchOptions<Data> = {}): Promise<boolean> {
    return this.#touched(() => this.#touchAsked(id, options))
  }

  async #touchAsked(id: string, options: TouchOptions<Data>): Promise<TouchOutcome> {
    const { lifetime = this.#settings.gcMaxlifetime, access = true } = options
    checkLifetime(lifetime)
    const marks = marksOf(options)
    const base = this.#baseOf(id, options.base)
    if (!this.#isId(id)) return 'absent'
    if (base !== undefined && this.#settings.shortCircuit) {
      const { outcome } = await this.#refresh(id, base, { lifetime, access, marks })
      return outcome === 'skipped' ? 'skipped' : outcome === 'gone' ? 'absent' : 'touched'
    }
    const { outcome } = await this.#touch(id, { lifetime: this.#stretched(lifetime), access, marks, base })
    return outcome === 'touched' ? 'touched' : 'absent'
  }

  /** @returns whether there was such a session */
  async #touched(work: () => Promise<TouchOutcome>): Promise<boolean> {
    const asked = tracing.touch.hasSubscribers
      ? traced(tracing.touch, { handler: this }, work, (outcome) => ({ outcome }))
      : work()
    return (await asked) !== 'absent'
  }

  /**
   * Removes a session, for good: a request that is under way does not bring it back.
   *
   * @returns whether there was one that had not expired
   */
  async destroy(id: string): Promise<boolean> {
    return this.#isId(id) && this.#destroy(id)
  }

  /**
   * The same for an id that `list()` has given, whatever `idPattern` says of it: in the table there may be those of
   * other writers.
   *
   * @returns whether there was one that had not expired
   * @throws INVALID_ARGUMENT for what no table holds
   */
  async destroyListed(id: string): Promise<boolean> {
    checkText('id', id)
    return this.#destroy(id)
  }

  /**
   * Removes what has expired, on every server, in small batches; with `keepExpired` empties it. Also called
   * every `gcInterval`. If another process is at it already, it is left to that one.
   *
   * @returns how many sessions were removed or emptied
   * @throws CLOCK_IMPLAUSIBLE if the database's clock cannot be right
   */
  async gc(): Promise<number> {
    const swept = await this.sweep()
    const failed = swept.flatMap(({ error }) => error ?? [])
    // A server that is away does not stop the others' sweep.
    if (failed.length === swept.length) throw failed[0]
    for (const error of failed) this.#report(error)
    return swept.reduce((sum, { removed }) => sum + removed, 0)
  }

  /** The same, told of each server. Rejects for no server's sake. */
  async sweep(): Promise<ServerSweep[]> {
    this.#checkOpen()
    return this.#underWay(this.#garbage.sweep())
  }

  /**
   * How many sessions `gc()` would remove or empty now, on each server: for who asks before he does it. Of a server that
   * has more than 10,000 to look at it is told that there are so many at least. Rejects for no server's sake.
   *
   * @param options `timeLimit`: seconds after which PostgreSQL itself gives up, which is an `error`. Default: 0.2
   */
  async countDue({
    timeLimit = 0.2,
  }: {
    readonly timeLimit?: number | undefined
  } = {}): Promise<ServerDue[]> {
    this.#checkOpen()
    timeLimitOf({ timeLimit }) // refuses what is none
    return this.#underWay(this.#garbage.due(timeLimit))
  }

  /** The seed's `session_pgsql_info()`: dates, addresses and counters without the data. */
  async info(id: string): Promise<SessionInfo | undefined> {
    const stored = await this.#read(id)
    return stored && infoOf(stored)
  }

  /** Sets the custom field, for example to a user's id. null empties it. @returns whether there is such a session */
  async setField(id: string, value: string | null): Promise<boolean> {
    if (value !== null) checkText('custom field', value)
    return this.#mark(id, marksOf({ custom: value }))
  }

  /** The custom field; undefined if there is no such session. */
  async getField(id: string): Promise<string | null | undefined> {
    return (await this.#read(id))?.custom
  }

  /** Every session with this custom field that has not expired, the last written first: "my devices". At most 10,000. */
  async findByField(value: string): Promise<SessionRecord<Data>[]> {
    checkText('custom field', value)
    const options = { field: value, order: '-modified', limit: 10_000, text: true } as const
    const pages = await this.#everywhere((server) => listSessions(server.table, options, this.#deadline()))
    return mergePages(pages, options).sessions.map((stored) => new SessionRecord(stored, this.#codec))
  }

  /**
   * Destroys every session with this custom field: "log out everywhere".
   *
   * @returns how many there were
   * @throws SERVER_DOWN with the names of the servers that could not be reached, after those on the others were destroyed
   */
  async destroyByField(value: string): Promise<number> {
    checkText('custom field', value)
    let destroyed = 0
    for (;;) {
      const { answers, missing } = await this.#askAll((server) =>
        listSessions(server.table, { field: value, limit: 1000 }, this.#deadline()),
      )
      const ids = new Set(answers.flatMap(({ sessions }) => sessions.map(({ id }) => id)))
      // Also those that another idPattern has let in.
      const there = await Promise.all([...ids].map((id) => this.#destroy(id)))
      const count = there.filter(Boolean).length
      destroyed += count
      if (count > 0) continue
      if (missing.length === 0) return destroyed
      throw new SessionPgsqlError(
        'SERVER_DOWN',
        `${destroyed} sessions were destroyed, but these servers could not be asked: ${missing.join(', ')}. Repeat it when they are back.`,
      )
    }
  }

  /** Adds one to a counter, and keeps the message. @returns whether there is such a session */
  async addError(id: string, level: ErrorLevel = 'error', message?: string): Promise<boolean> {
    const counters = { error: 'errors', warning: 'warnings', notice: 'notices' } as const
    const counter = Object.hasOwn(counters, level) ? counters[level] : undefined
    if (counter === undefined) throw invalid("Expected the level to be 'error', 'warning' or 'notice'.")
    return this.#mark(id, marksOf({ errors: { [counter]: 1, message } }))
  }

  /** The three counters and the last message; undefined if there is no such session. */
  async getErrors(id: string): Promise<SessionErrors | undefined> {
    const stored = await this.#read(id)
    if (stored === undefined) return undefined
    const { errors, warnings, notices, errorMessage } = stored
    return { errors, warnings, notices, message: errorMessage }
  }

  /**
   * Takes the lock of a session: for who wants one request at a time, as PHP's handlers do. Reads and writes of
   * this package never wait for it. It is a lease in a table of its own (`php_session_lock`, created at the
   * first lock), across processes and machines; whoever has it takes it again before its time is over, to keep
   * it.
   *
   * @param owner a secret of the holder's, such as a random text
   * @param seconds after which it ends by itself
   * @returns false while another owner has it; never waits for it
   */
  async tryLock(id: string, owner: string, seconds: number): Promise<boolean> {
    this.#demandId(id)
    checkText('lock owner', owner)
    checkLifetime(seconds)
    return this.#atHome(id, (table, deadline) => takeLock(table, storedId(id), owner, seconds, deadline))
  }

  /** Gives a lock back. @returns whether this owner had it */
  async unlock(id: string, owner: string): Promise<boolean> {
    this.#demandId(id)
    return this.#atHome(id, (table, deadline) => releaseLock(table, storedId(id), owner, deadline))
  }

  /** Who has the lock of a session; undefined if nobody does. */
  async lockOwner(id: string): Promise<string | undefined> {
    this.#demandId(id)
    return this.#atHome(id, (table, deadline) => lockOwner(table, storedId(id), deadline))
  }

  /** A page of sessions, without their data. See `ListOptions`. */
  async list(options: ListOptions = {}): Promise<SessionPage> {
    this.#checkOpen()
    const pages = await this.#everywhere((server) => listSessions(server.table, options, this.#deadline()))
    const page = mergePages(pages, options)
    const sessions = page.sessions.map((stored): ListedSession => {
      const info = infoOf(stored)
      return options.text ? { ...info, text: stored.text } : info
    })
    return Object.assign(sessions, { next: page.next })
  }

  /** How many sessions the filter leaves. It counts them one by one: not for every request. */
  async count(options: CountOptions = {}): Promise<number> {
    this.#checkOpen()
    const counts = await this.#everywhere((server) => countSessions(server.table, options, this.#deadline()))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /**
   * What each server says of its sessions in numbers: how many there are, when they expire, how large the table
   * is, how its standbys do. Rejects for no server's sake: one that does not answer has an `error` instead. Small
   * tables are counted, large ones estimated of a sample, so that it may be asked every few seconds.
   *
   * @param before what was told the last time: then it is told of each name how much was `written` since
   */
  async statistics(before: readonly ServerStatistics[] = []): Promise<ServerStatistics[]> {
    this.#checkOpen()
    const asked = async (): Promise<ServerStatistics[]> => {
      await this.#servers.starting
      const answers = await this.#servers.each((server) => {
        const { table } = before.find(({ name }) => name === server.name) ?? {}
        return tableStatistics(server.table, table, this.#deadline())
      })
      return answers.map(({ name, answer, error }) => ({ name, table: answer, error }))
    }
    return this.#underWay(asked())
  }

  /**
   * What has happened to the servers, as every process has noted it that uses the same tables, the oldest first:
   * sweeps that have removed something, failovers, promotions, and what was brought home. For operators, who come
   * later and from elsewhere; nothing here depends on it. It lies in a table of its own on each server
   * (`php_session_event`), is written in the background, and holds 500 entries of a kind at most, for 30 days. A
   * server that does not answer, or has no such table, has nothing to tell.
   *
   * @param options `seconds`: how far back. Default: a day
   */
  async journal({
    seconds = 86_400,
  }: {
    readonly seconds?: number | undefined
  } = {}): Promise<JournalEntry[]> {
    this.#checkOpen()
    if (typeof seconds !== 'number' || !(seconds >= 0)) throw invalid('Expected the seconds to be 0 or more.')
    const asked = async (): Promise<JournalEntry[]> => {
      await this.#servers.starting
      const answers = await this.#servers.each(({ table }) => readNotes(table, seconds, this.#deadline()))
      return answers
        .flatMap(({ name, answer = [] }) => answer.flatMap((note) => this.#journal.entryOf(name, note) ?? []))
        .sort((one, other) => one.at.getTime() - other.at.getTime())
    }
    return this.#underWay(asked())
  }

  /** PHP's contract: whether this is the id of a session that is there. What cannot be an id is not. */
  async validateId(id: string): Promise<boolean> {
    return typeof id === 'string' && (await this.#read(id)) !== undefined
  }

  /** A new id: 32 characters of `A-Z a-z 0-9 - _` with 192 random bits. */
  createId(): string {
    return createId()
  }

  /** The settings in force, and how each server is. Asks nobody; holds no password. */
  status(): HandlerStatus {
    return {
      settings: describeSettings(this.#settings),
      pending: this.#pending,
      servers: this.#servers.status(),
    }
  }

  /** Drops every connection and makes new ones; what is under way may fail. The seed's `session_pgsql_reset()`. */
  async reset(): Promise<void> {
    this.#checkOpen()
    await this.#servers.reset()
    await this.open()
  }

  /**
   * Waits for what is under way, then closes every connection that was opened here; a pool that the caller
   * brought stays open. After it the process can end. May be called twice.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#collector.close()
    this.#garbage.close()
    if (this.#pending > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    await this.#journal.close()
    await this.#servers.close()
  }

  #read(id: string): Promise<StoredSession | undefined> {
    if (!tracing.read.hasSubscribers) return this.#readNow(id)
    return traced(
      tracing.read,
      { handler: this },
      () => this.#readNow(id),
      (stored): Partial<ReadMessage> => ({ outcome: stored === undefined ? 'absent' : 'found' }),
    )
  }

  async #readNow(id: string): Promise<StoredSession | undefined> {
    if (!this.#isId(id)) return undefined
    this.#begin(0)
    try {
      const { starting } = this.#servers
      if (starting !== undefined) await starting
      const deadline = this.#deadline()
      return await this.#lines.read(id, () =>
        again(() => this.#servers.sessions.read(storedId(id), deadline)),
      )
    } finally {
      this.#end(0)
    }
  }

  /**
   * An unchanged session: skipped as long as its stored expiry is young enough; touched when it is not, or
   * when there is something to record.
   */
  async #refresh(
    id: string,
    base: StoredSession,
    { lifetime, access, marks }: { lifetime: number; access: boolean; marks: Marks | undefined },
  ): Promise<{ outcome: WriteOutcome; stored: StoredSession | undefined }> {
    const left = remaining(base)
    const stretched = this.#stretched(lifetime)
    // Left is more than a write with this lifetime would have given it: the lifetime has been made shorter.
    const isYoung = left >= lifetime && left <= stretched + 1
    if (marks === undefined && (isYoung || this.#settings.refreshAfter === Number.POSITIVE_INFINITY)) {
      return { outcome: 'skipped', stored: base }
    }
    const answer = await this.#touch(id, { lifetime: stretched, access, marks, base })
    if (answer.outcome !== 'touched') {
      this.#tell('gone', { id })
      return { outcome: 'gone', stored: undefined }
    }
    const { expires = null, clock = base.clock } = answer
    return {
      outcome: 'updated',
      stored: { ...base, ...applied(base, marks), expires, clock, readAt: performance.now() },
    }
  }

  #destroy(id: string): Promise<boolean> {
    if (!tracing.destroy.hasSubscribers) return this.#destroyNow(id)
    return traced(
      tracing.destroy,
      { handler: this },
      () => this.#destroyNow(id),
      (there): Partial<DestroyMessage> => ({ outcome: there ? 'destroyed' : 'absent' }),
    )
  }

  async #destroyNow(id: string): Promise<boolean> {
    const { outcome } = await this.#operate(id, 0, (line, deadline) => {
      line.latest = undefined
      return destroy(this.#servers.sessions, storedId(id), deadline)
    })
    return outcome === 'destroyed'
  }

  #touch(id: string, touch: Omit<Touch, 'id'>): Promise<Answer> {
    return this.#operate(id, 0, (_line, deadline) => {
      const send = (): Promise<Answer> =>
        this.#servers.sessions.touch({ id: storedId(id), ...touch }, deadline)
      // Sent twice, what counts errors might count them twice.
      return touch.marks === undefined ? again(send) : send()
    })
  }

  async #mark(id: string, marks: Marks | undefined): Promise<boolean> {
    if (!this.#isId(id)) return false
    return this.#touched(async () => {
      const touch = { lifetime: null, access: false, marks, base: undefined }
      return (await this.#touch(id, touch)).outcome === 'touched' ? 'touched' : 'absent'
    })
  }

  /** What concerns an id and not its session, and so stands in no line. */
  #atHome<T>(id: string, ask: (table: Server['table'], deadline: number) => Promise<T>): Promise<T> {
    this.#checkOpen()
    const asked = async (): Promise<T> => {
      await this.#servers.starting
      const deadline = this.#deadline()
      return this.#servers.ask(storedId(id), deadline, ({ table }) => ask(table, deadline))
    }
    return this.#underWay(asked())
  }

  /** Does one thing for one id, after what was asked for it before. */
  async #operate<T>(
    id: string,
    weight: number,
    work: (line: Line, deadline: number) => Promise<T>,
  ): Promise<T> {
    this.#begin(weight)
    try {
      const { starting } = this.#servers
      if (starting !== undefined) await starting
      const deadline = this.#deadline()
      return await this.#lines.run(id, (line) => work(line, deadline))
    } finally {
      this.#end(weight)
    }
  }

  /** Lets nobody in when closed, or when so many wait that more would only use up the memory. */
  #begin(weight: number): void {
    this.#checkOpen()
    if (
      this.#pending >= MAX_PENDING ||
      (this.#pendingWeight > 0 && this.#pendingWeight + weight > MAX_PENDING_WEIGHT)
    ) {
      throw new SessionPgsqlError(
        'OVERLOADED',
        `${this.#pending} operations are waiting for the database already. It is slower than what is asked of it; try again later.`,
      )
    }
    this.#pending++
    this.#pendingWeight += weight
  }

  #end(weight: number): void {
    this.#pending--
    this.#pendingWeight -= weight
    if (this.#pending === 0) this.#idle?.()
    this.#collector.accessed()
  }

  /** What is no access to a session; `close` waits for it all the same. */
  async #underWay<T>(work: Promise<T>): Promise<T> {
    this.#pending++
    try {
      return await work
    } finally {
      this.#pending--
      if (this.#pending === 0) this.#idle?.()
    }
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) {
      throw new SessionPgsqlError('CLOSED', 'This save handler has been closed. Make a new one to go on.')
    }
  }

  #deadline(): number {
    return performance.now() + this.#settings.operationTimeout * 1000
  }

  /** Asks every server that can be reached; rejects if none can. */
  async #everywhere<T>(ask: (server: Server) => Promise<T>): Promise<T[]> {
    return (await this.#askAll(ask)).answers
  }

  async #askAll<T>(ask: (server: Server) => Promise<T>): Promise<{ answers: T[]; missing: string[] }> {
    this.#checkOpen()
    const all = async (): Promise<{ answers: T[]; missing: string[] }> => {
      await this.#servers.starting
      return this.#servers.everywhere(ask)
    }
    return this.#underWay(all())
  }

  /** What two servers have of one session, as its home gets it when they see each other again. */
  #settleApart(mine: string, theirs: string, seen: string): Promise<string> {
    const difference = {
      text: mine,
      seen,
      codec: this.#codec,
      conflict: this.#settings.conflict,
      deadline: this.#deadline(),
    }
    return settleApart(difference, theirs, (error) => this.#report(error))
  }

  #isId(id: unknown): id is string {
    if (typeof id !== 'string') {
      throw new SessionPgsqlError(
        'INVALID_ID',
        `Expected the id of a session to be a string; received ${typeof id}.`,
      )
    }
    return this.#settings.idPattern.test(id)
  }

  #demandId(id: unknown): asserts id is string {
    if (this.#isId(id)) return
    throw new SessionPgsqlError(
      'INVALID_ID',
      `This cannot be the id of a session: expected it to match ${this.#settings.idPattern} (option idPattern); received ${(id as string).length} characters.`,
    )
  }

  #baseOf(id: string, base: unknown): StoredSession | undefined {
    if (base === undefined || base === null || base === 'existing') return undefined
    const stored = SessionRecord.stored(base)
    if (stored !== undefined) {
      if (stored.id === storedId(id)) return stored
      throw invalid('Expected the base to be a record of this session; received that of another id.')
    }
    throw invalid(
      "Expected the base to be a record from read() or write(), null, or 'existing'. A copy of a record is not one: pass the record itself.",
    )
  }

  #lifetimeOf(lifetime: number | ((data: Data) => number) | undefined): (data: Data) => number {
    return (data) => {
      let seconds: unknown = lifetime ?? this.#settings.gcMaxlifetime
      if (typeof lifetime === 'function') {
        try {
          seconds = lifetime(data)
        } catch (cause) {
          throw invalid('The function in `lifetime` has failed.', cause)
        }
      }
      checkLifetime(seconds)
      return seconds
    }
  }

  /** With short circuit the stored expiry is later by what it may grow old, so that no session lives shorter. */
  #stretched(lifetime: number): number {
    const { shortCircuit, refreshAfter = lifetime / 10 } = this.#settings
    return shortCircuit && refreshAfter !== Number.POSITIVE_INFINITY ? lifetime + refreshAfter : lifetime
  }

  #result(outcome: WriteOutcome, stored: StoredSession | undefined, sent: string): WriteResult<Data> {
    return new Result(outcome, stored, sent, this.#codec)
  }

  /** A listener that throws must not fail the write of which it is told. */
  #tell<E extends Exclude<keyof SaveHandlerEvents, 'error'>>(
    event: E,
    ...[about]: SaveHandlerEvents[E]
  ): void {
    announce(this, event, about)
    try {
      // The compiler does not see that an event and what is told of it belong together.
      const emitter: EventEmitter = this as unknown as EventEmitter
      emitter.emit(event, about)
    } catch (error) {
      this.#report(error as Error)
    }
  }

  /** For what fails while nobody waits for it. */
  #report(error: Error): void {
    announce(this, 'error', { error })
    if (this.listenerCount('error') > 0) {
      this.emit('error', error)
    } else if (!this.#errorLogged) {
      this.#errorLogged = true
      this.#settings.logger.error(
        'an error in the background; listen to the event "error" for the next ones',
        error,
      )
    }
  }
}

/** Decodes the session when it is asked for: who only wants to know the outcome need not pay for it. */
class Result<Data> implements WriteResult<Data> {
  readonly outcome: WriteOutcome
  readonly #stored: StoredSession | undefined
  readonly #sent: string
  readonly #codec: Codec<Data>
  #session: SessionRecord<Data> | undefined

  constructor(outcome: WriteOutcome, stored: StoredSession | undefined, sent: string, codec: Codec<Data>) {
    this.outcome = outcome
    this.#stored = stored
    this.#sent = sent
    this.#codec = codec
  }

  get session(): SessionRecord<Data> | undefined {
    if (this.#stored !== undefined) this.#session ??= new SessionRecord(this.#stored, this.#codec)
    return this.#session
  }

  get sent(): Data {
    return this.#codec.decode(this.#sent)
  }
}

/** What a touch has made of the custom field; the counters are the server's to know. */
function applied(base: StoredSession, marks: Marks | undefined): Partial<StoredSession> {
  return {
    custom: marks?.custom === undefined ? base.custom : marks.custom,
    errors: base.errors + (marks?.errors ?? 0),
    warnings: base.warnings + (marks?.warnings ?? 0),
    notices: base.notices + (marks?.notices ?? 0),
    errorMessage: marks?.message ?? base.errorMessage,
  }
}
