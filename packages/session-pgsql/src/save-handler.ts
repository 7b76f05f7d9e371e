import { EventEmitter } from 'node:events'
import { codecNamed } from './codec/codecs.ts'
import { invalid } from './errors.ts'
import { Administration } from './handler/administration.ts'
import { Admission } from './handler/admission.ts'
import { EndListener } from './handler/end-listener.ts'
import { Events } from './handler/events.ts'
import { Collector, Garbage } from './handler/gc.ts'
import { Journal } from './handler/journal.ts'
import { Sessions } from './handler/sessions.ts'
import type {
  DestroyAllOptions,
  DestroyByFieldOptions,
  ErrorLevel,
  HandlerStatus,
  JournalEntry,
  LimitByFieldOptions,
  SaveHandlerEvents,
  ServerDue,
  ServerSweep,
  SessionErrors,
  TouchOptions,
  UpdateOptions,
  UpdateResult,
  WriteOptions,
  WriteResult,
} from './operations.ts'
import { readPhpIni } from './php-ini.ts'
import type { Server } from './servers/server.ts'
import { Servers } from './servers/servers.ts'
import { checkText, metadataOf } from './session/checks.ts'
import type { ColumnDefinitions, ColumnFilter } from './session/columns.ts'
import type { Devices } from './session/device.ts'
import type { CountOptions, FoundSessions, ListOptions, SessionPage } from './session/filter.ts'
import { createId } from './session/id.ts'
import { infoOf, type SessionInfo, SessionRecord } from './session/record.ts'
import type { ServerStatistics } from './session/statistics.ts'
import type { ColumnTexts } from './session/stored.ts'
import { HASHED_ID_PREFIX, hashedId, StoredId } from './session/stored-id.ts'
import {
  describeSettings,
  resolveSettings,
  type SaveHandlerOptions,
  type Settings,
  type SettingsSources,
} from './settings/settings.ts'
import { writeEvent } from './table/journal.ts'

/**
 * The session store. It is called a session save handler, as in PHP and in `session_pgsql`, the C extension whose
 * functions it offers.
 *
 * Every method that goes to the database rejects with a `SessionPgsqlError` and nothing else, within
 * `operationTimeout` seconds. Calls for one id run in the order in which they were made.
 *
 * This class is the documented interface of three parts: operations on one session (`handler/sessions.ts`),
 * operations on many sessions or on servers (`handler/administration.ts`), and admission of operations
 * (`handler/admission.ts`).
 */
export class SaveHandler<
  Data = Record<string, unknown>,
  Columns extends ColumnDefinitions<Data> = ColumnDefinitions<Data>,
> extends EventEmitter<SaveHandlerEvents> {
  readonly #settings: Settings<Data>
  readonly #servers: Servers
  readonly #admission: Admission = new Admission()
  readonly #sessions: Sessions<Data>
  readonly #administration: Administration<Data>
  readonly #garbage: Garbage
  readonly #collector: Collector
  readonly #journal: Journal
  /** One for each server; none without `announce`. */
  readonly #endListeners: ReadonlyMap<Server, EndListener>
  #closed: Promise<void> | undefined

  /**
   * Checks the options. Connects to nothing.
   *
   * @param options see `SaveHandlerOptions`; unset options fall back to environment variables, then to the defaults
   * @param sources other sources of settings; `fromIni` fills it
   * @throws INVALID_OPTION
   */
  constructor(options: SaveHandlerOptions<Data, Columns> = {}, sources: SettingsSources = {}) {
    super()
    const settings = resolveSettings(options, sources)
    const codec = codecNamed<Data>(settings.codec)
    const events = new Events(this, settings.logger)
    this.#settings = settings
    this.#servers = new Servers(settings.db, settings, {
      handler: this,
      onDown: (server, error) => events.emit('serverDown', { server, error }),
      onUp: (server) => events.emit('serverUp', { server }),
      onFailover: (event) => {
        this.#journal.failover(event)
        events.emit('failover', event)
      },
      onPromotion: (event) => {
        this.#journal.promoted(event)
        events.emit('promoted', event)
      },
      onFailback: (event) => {
        this.#journal.broughtHome(event)
        events.emit('broughtHome', event)
      },
      onBothForms: () => this.#sessions.hashKeys(),
      onUnannounced: (server) => {
        this.#endListeners.get(server)?.owe()
        events.emit('missed', { server: server.name })
      },
      onError: (error) => events.report(error),
      columns: {
        names: settings.columns.computed.map(({ name }) => name),
        of: (text) => this.#columnsAtFailback(text, events),
      },
      merge: (ours, theirs, base, ofTwoUsers) => this.#sessions.settleApart(ours, theirs, base, ofTwoUsers),
    })
    this.#journal = new Journal(
      (server, ...event) => writeEvent(this.#servers.named(server).table, ...event),
      (error) => settings.logger.debug('Cannot write an event to the journal.', error),
    )
    this.#garbage = new Garbage(this.#servers, settings, this, (event) => {
      this.#journal.gc(event)
      events.emit('gc', event)
    })
    this.#collector = new Collector(settings.gcInterval, () =>
      this.gc().catch((error) => events.report(error)),
    )
    this.#sessions = new Sessions({
      settings,
      codec,
      servers: this.#servers,
      admission: this.#admission,
      events,
      handler: this,
      onAccess: () => this.#collector.accessed(),
    })
    this.#administration = new Administration({
      servers: this.#servers,
      admission: this.#admission,
      events,
      garbage: this.#garbage,
      journal: this.#journal,
      codec,
      columns: settings.columns,
      columnsOf: (text) => this.#sessions.columnsOf(text),
      whenHomeIsDown: settings.whenHomeIsDown,
      operationTimeout: settings.operationTimeout,
      expiryGrace: settings.expiryGrace,
      maxLifetime: settings.maxLifetime,
      ids: settings.ids,
      destroy: (form, reason) => this.#sessions.destroy(new StoredId(form), reason),
    })
    this.#endListeners = new Map(
      settings.announce ? this.#servers.all.map((server) => [server, this.#endListener(server, events)]) : [],
    )
    if (settings.announce) {
      const listenTo = (event: string): void => {
        if (event === 'ended' || event === 'missed') this.#listen()
      }
      // The types of EventEmitter know the handler's own events only.
      this.on('newListener' as never, listenTo as never)
    }
  }

  /**
   * Creates a save handler with the settings of a php.ini: `session_pgsql.*`, `session.gc_maxlifetime` and
   * `session.name`.
   *
   * @param path of the php.ini
   * @param options override the php.ini, which overrides environment variables
   * @throws INVALID_OPTION
   */
  static fromIni<
    Data = Record<string, unknown>,
    Columns extends ColumnDefinitions<Data> = ColumnDefinitions<Data>,
  >(path: string, options: SaveHandlerOptions<Data, Columns> = {}): SaveHandler<Data, Columns> {
    return new SaveHandler(options, { ini: readPhpIni(path) })
  }

  /**
   * Connects to every server and inspects its table. Creates the table if it does not exist, and adds missing columns
   * if the role is allowed to (see `createTable`). A table that existed before is not created again: it is
   * TABLE_MISSING until it is back. The first use does the same; call `open` at startup so that a wrong
   * address fails there. A failure is not cached: the next use tries again.
   *
   * With `announce` and a listener of `ended` or `missed`, it also waits until announcements arrive; if they do not, the
   * event `error` says why.
   */
  async open(): Promise<void> {
    await this.#administration.open()
    await Promise.all([...this.#endListeners.values()].map((listener) => listener.started()))
  }

  /**
   * Reads the session with this id. Resolves to undefined if there is none, if it has expired, or if the id does not
   * match `idPattern`; such an id never reaches the database.
   *
   * @throws UNDECODABLE if the codec cannot decode the stored data; never an empty session instead
   */
  read(id: string): Promise<SessionRecord<Data, Columns> | undefined> {
    return this.#sessions.read(id) as Promise<SessionRecord<Data, Columns> | undefined>
  }

  /**
   * Writes a session. `WriteOptions` says what happens if other requests have changed or ended it meanwhile.
   *
   * @throws INVALID_ID, INVALID_DATA, INVALID_ARGUMENT; CONFLICT with `conflict: 'error'`; AMBIGUOUS if the connection
   * was lost and the change may or may not have been applied
   */
  write(id: string, data: Data, options: WriteOptions<Data> = {}): Promise<WriteResult<Data, Columns>> {
    return this.#sessions.write(id, data, options) as Promise<WriteResult<Data, Columns>>
  }

  /**
   * Applies a function to the stored data and writes the result, atomically. For counters, stock, one-time tokens, and
   * actions that exactly one request may perform. Overlapping updates of one session all take effect, in any number of
   * processes.
   *
   * ```ts
   * const { value: granted } = await sessions.update(id, (data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * @param change receives a copy of the stored data. It changes that copy or returns a new object, which becomes the
   * data; any other return value (a primitive, an array, a part of the data) is only returned to the caller. It must be
   * synchronous and free of side effects: after a conflict it is called again with the newest data.
   * @returns the result of the write, and as `value` what the function returned; the outcome `gone`, without calling
   * the function, if there is no such session
   * @throws the error of the function, and writes nothing; otherwise as `write`, but never CONFLICT
   */
  update<Value = void>(
    id: string,
    change: (data: Data) => Value,
    options: UpdateOptions<Data> = {},
  ): Promise<UpdateResult<Data, Value, Columns>> {
    return this.#sessions.update(id, change, options) as Promise<UpdateResult<Data, Value, Columns>>
  }

  /**
   * Returns a copy of the data as a read would return it after a write. For a record, returns the data as it was read or
   * written, without later changes of the caller. Later changes of the original do not affect the copy. For adapters
   * that write the data later.
   *
   * @throws INVALID_DATA
   */
  snapshot(data: Data | SessionRecord<Data>): Data {
    return this.#sessions.snapshot(data)
  }

  /**
   * Returns the data with two changes of the same base, merged as a conflict of writes is with `conflict: 'merge'`. Pass
   * data as `read` and `snapshot` return it. Changes none of the three; the result may share parts with them. For
   * adapters, whose session objects receive what the store has meanwhile.
   *
   * @throws INVALID_DATA
   */
  merge(ours: Data, theirs: Data, base: Data): Data {
    return this.#sessions.merge(ours, theirs, base)
  }

  /**
   * Extends the expiry, counts an access, and records the custom field and errors if they are given. Never writes the
   * data and never creates a session.
   *
   * @returns true if the session exists
   */
  touch(id: string, options: TouchOptions<Data> = {}): Promise<boolean> {
    return this.#sessions.touch(id, options)
  }

  /**
   * Removes a session for good: a request in progress does not bring it back.
   *
   * @returns true if the session existed and had not expired
   */
  async destroy(id: string): Promise<boolean> {
    return this.#sessions.isId(id) && this.#sessions.destroy(id)
  }

  /**
   * Removes a session that `list()` returned, whether or not its id matches `idPattern`: other writers of the table may
   * use other ids.
   *
   * @returns true if the session existed and had not expired
   * @throws INVALID_ARGUMENT if no table can hold such an id
   */
  async destroyListed(id: string): Promise<boolean> {
    return this.listed.destroy(id)
  }

  /**
   * @internal The operations on sessions that are named by the stored forms of their ids, as lists return them. For
   * adapters, which must not store ids in another form than the table does.
   */
  readonly listed: ListedSessions<Data> = {
    read: async (form) => this.#sessions.read(listedId(form)),
    write: async (form, data, options = {}) => this.#sessions.write(listedId(form), data, options),
    update: async (form, change, options = {}) => this.#sessions.update(listedId(form), change, options),
    destroy: async (form) => this.#sessions.destroy(listedId(form)),
    snapshot: (data) => this.snapshot(data),
    merge: (ours, theirs, base) => this.merge(ours, theirs, base),
    formOf: (record) => SessionRecord.stored(record)?.id ?? record.id,
    formOfNew: (id) => (this.#settings.ids === 'plain' ? id : hashedId(id)),
  }

  /**
   * Removes expired sessions on every server in small batches; with `keepExpired` empties them instead. Also runs every
   * `gcInterval`. Several processes may sweep a server at the same time: each skips the rows that
   * another has locked.
   *
   * @returns the number of sessions removed or emptied
   * @throws CLOCK_IMPLAUSIBLE if the database's clock and this machine's differ by more than a minute
   */
  async gc(): Promise<number> {
    return this.#administration.gc()
  }

  /** Does what `gc` does, and resolves to the result for each server. Does not reject if a server fails. */
  async sweep(): Promise<ServerSweep[]> {
    return this.#administration.sweep()
  }

  /**
   * Counts the sessions that `gc()` would remove or empty now, for each server. Counts at most 10,000 on a server;
   * `exact` is false if there are more. Does not reject if a server fails.
   *
   * @param options `timeLimit`: seconds after which PostgreSQL cancels the count, reported as `error`. Default: 0.2
   */
  async countDue({
    timeLimit = 0.2,
  }: {
    readonly timeLimit?: number | undefined
  } = {}): Promise<ServerDue[]> {
    return this.#administration.countDue(timeLimit)
  }

  /**
   * Returns a session's dates, addresses and counters, without its data; undefined if there is no such session.
   * `session_pgsql_info()` of the C extension.
   */
  async info(id: string): Promise<SessionInfo | undefined> {
    const stored = await this.#sessions.readStored(id)
    return stored && infoOf(stored, this.#settings.maxLifetime, id)
  }

  /** Sets the custom field, for example to a user's id; null clears it. @returns true if the session exists */
  async setField(id: string, value: string | null): Promise<boolean> {
    if (value !== null) checkText('custom field', value)
    return this.#sessions.updateMetadata(id, metadataOf({ custom: value }))
  }

  /** Returns the custom field; undefined if there is no such session. */
  async getField(id: string): Promise<string | null | undefined> {
    return (await this.info(id))?.custom
  }

  /**
   * Returns the sessions with this custom field that have not expired, the last written first, for a "where you're
   * logged in" page. At most 10,000. With several servers, `missing` names those that could not be reached.
   *
   * @throws SERVER_DOWN with these names instead, if `whenHomeIsDown` is `'error'`
   */
  async findByField(value: string): Promise<FoundSessions<Data, Columns>> {
    return this.#administration.findByField(value) as Promise<FoundSessions<Data, Columns>>
  }

  /**
   * Destroys every session with this custom field: "log out everywhere". Includes sessions that expired so recently that
   * a request in progress could still save them; see `expiryGrace`. With `except`: "log out everywhere else".
   *
   * @returns the number of destroyed sessions that had not expired
   * @throws SERVER_DOWN with the names of the servers that could not be reached, after destroying the sessions on the
   * others
   */
  async destroyByField(value: string, options: DestroyByFieldOptions = {}): Promise<number> {
    return this.#administration.destroyByField(value, options)
  }

  /**
   * Ends the oldest sessions with this custom field, so that at most `max` are left: "at most three devices". The age of
   * a session counts from its beginning; see `since` of `WriteOptions`. Sessions that have just expired, but may still
   * be saved (`expiryGrace`), end first. Store the session of the request before, with its custom field. Calls for one
   * value run one after the other in all processes, so two logins at once do not end each other. With several servers
   * they do not, and a login at the same time may be one too many.
   *
   * @param max at least 1
   * @returns the number of ended sessions that had not expired
   * @throws INVALID_ARGUMENT; SERVER_DOWN with the names of the servers that could not be reached, after ending sessions
   * on the others
   */
  async limitByField(value: string, max: number, options: LimitByFieldOptions = {}): Promise<number> {
    return this.#administration.limitByField(value, max, options)
  }

  /**
   * Destroys all sessions of all users that began before this call, for example after a leak of session ids. Visitors
   * can sign in again meanwhile. A request in progress does not restore its session, but it may give the data to a new id.
   *
   * @returns the number of destroyed sessions that had not expired
   * @throws SERVER_DOWN with the names of the servers that could not be reached, after destroying the sessions on the
   * others
   */
  async destroyAll(options: DestroyAllOptions = {}): Promise<number> {
    return this.#administration.destroyAll(options)
  }

  /**
   * Destroys every session whose columns have these values, for example all of a deleted user:
   * `destroyWhere({ user_id: 7 })`. Includes sessions that expired so recently that a request in progress could still
   * save them; see `expiryGrace`.
   *
   * @param where columns of the option `columns`; all must match
   * @returns the number of destroyed sessions that had not expired
   * @throws COLUMNS_UNFILLED if processes without the functions of the option `columns` have written sessions that may
   * match as well, after destroying the others; call `fillColumns` and repeat the call. SERVER_DOWN as `destroyByField`.
   * TABLE_UNFIT if the table lacks a column
   */
  async destroyWhere(where: ColumnFilter<Columns>): Promise<number> {
    return this.#administration.destroyWhere(where)
  }

  /**
   * Computes the columns of sessions that were written by processes without the functions of the option `columns`: the
   * gateway, an import, or an earlier version of the application. Runs in small batches and can be repeated. Changes
   * nothing else, so that no request in progress meets a conflict.
   *
   * @param options `all`: compute every session, for example after a function was changed. Default: false
   * @returns the number of sessions that were filled
   * @throws COLUMNS_UNFILLED if values cannot be computed, after filling the others; TABLE_UNFIT if the table lacks a
   * column
   */
  async fillColumns({ all = false }: { readonly all?: boolean | undefined } = {}): Promise<number> {
    return this.#administration.fillColumns(all)
  }

  /**
   * Returns the sessions with this custom field for a "where you're logged in" page, as `findByField` does, but without
   * their ids: each has a handle that `endDevice` takes and that cannot be used to sign in. Send these, never the ids.
   *
   * @param options `current`: the id of the request's session, which is then marked
   * @throws the errors of `findByField`
   */
  async devices(
    value: string,
    { current }: { readonly current?: string | undefined } = {},
  ): Promise<Devices<Data>> {
    return this.#administration.devices(value, current)
  }

  /**
   * Ends the session with this handle, if its custom field has this value: a user's handle ends no session of another
   * user. Pass the value from the session of the request, never a value that the browser has sent.
   *
   * @returns false if there is no such session
   * @throws SERVER_DOWN with the names of the servers that could not be reached, if the others do not have the session
   */
  async endDevice(value: string, handle: string): Promise<boolean> {
    return this.#administration.endDevice(value, handle)
  }

  /** Increments an error counter and stores the message. @returns true if the session exists */
  async addError(id: string, level: ErrorLevel = 'error', message?: string): Promise<boolean> {
    const counters = { error: 'errors', warning: 'warnings', notice: 'notices' } as const
    const counter = Object.hasOwn(counters, level) ? counters[level] : undefined
    if (counter === undefined) throw invalid("Expected the level to be 'error', 'warning' or 'notice'.")
    return this.#sessions.updateMetadata(id, metadataOf({ errors: { [counter]: 1, message } }))
  }

  /** Returns the error counters and the last message; undefined if there is no such session. */
  async getErrors(id: string): Promise<SessionErrors | undefined> {
    const info = await this.info(id)
    if (info === undefined) return undefined
    const { errors, warnings, notices, errorMessage } = info
    return { errors, warnings, notices, message: errorMessage }
  }

  /**
   * Takes the lock of a session, to run one request per session at a time, as PHP's handlers do. Reads and writes of
   * this package never wait for it. The lock is a lease in its own table (`php_session_lock`, created at the first
   * lock) and holds across processes and machines. To keep the lock, take it again before it ends.
   *
   * @param owner a secret of the holder, for example a random string
   * @param seconds after which the lock ends
   * @returns false if another owner holds the lock; never waits for it
   */
  async tryLock(id: string, owner: string, seconds: number): Promise<boolean> {
    this.#sessions.demandId(id)
    return this.#administration.tryLock(id, owner, seconds)
  }

  /** Releases a lock. @returns true if this owner held it */
  async unlock(id: string, owner: string): Promise<boolean> {
    this.#sessions.demandId(id)
    return this.#administration.unlock(id, owner)
  }

  /** Returns the owner of a session's lock; undefined if it is free. */
  async lockOwner(id: string): Promise<string | undefined> {
    this.#sessions.demandId(id)
    return this.#administration.lockOwner(id)
  }

  /**
   * Returns a page of sessions, without their data. See `ListOptions`. With several servers, `missing` names those that
   * could not be reached.
   */
  async list(options: ListOptions<Columns> = {}): Promise<SessionPage<Columns>> {
    return this.#administration.list(options as ListOptions) as Promise<SessionPage<Columns>>
  }

  /**
   * Counts the sessions that match the filter, one by one: not for every request.
   *
   * @throws SERVER_DOWN if not all servers can be reached, because the number would be incomplete. The message has
   * the number of the counted sessions, and names the other servers
   */
  async count(options: CountOptions<Columns> = {}): Promise<number> {
    return this.#administration.count(options as CountOptions)
  }

  /**
   * Returns statistics of each server: number of sessions, when they expire, table size, state of the standbys. Small
   * tables are counted, large ones estimated from a sample, so that it can be called every few seconds. Does not reject
   * if a server fails: its entry has an `error`.
   *
   * @param before the previous result; then each cookie name has the number of sessions `written` since
   */
  async statistics(before: readonly ServerStatistics[] = []): Promise<ServerStatistics[]> {
    return this.#administration.statistics(before)
  }

  /**
   * Returns the events of all processes that use the same tables, the oldest first: sweeps that removed something,
   * failovers, promotions and failbacks. For operators; nothing depends on it. Events are written in the background to
   * a table of their own on each server (`php_session_event`), at most 500 of a kind, kept for 30 days. A server that
   * does not answer or has no such table contributes none.
   *
   * @param options `seconds`: how far back. Default: 86,400, one day
   */
  async journal({
    seconds = 86_400,
  }: {
    readonly seconds?: number | undefined
  } = {}): Promise<JournalEntry[]> {
    return this.#administration.journal(seconds)
  }

  /**
   * Returns the form of an id that the event `ended` and lists have: the id itself, or its hashed form if the option `ids`
   * is not `'plain'`.
   */
  storedId(id: string): string {
    return this.listed.formOfNew(id)
  }

  /** Returns true if a session with this id exists. PHP's `SessionUpdateTimestampHandlerInterface::validateId`. */
  async validateId(id: string): Promise<boolean> {
    return typeof id === 'string' && (await this.info(id)) !== undefined
  }

  /** Returns a new id: 32 characters of `A-Z a-z 0-9 - _` with 192 random bits. */
  createId(): string {
    return createId()
  }

  /** Returns the settings in force and the state of each server. Sends nothing; contains no password. */
  status(): HandlerStatus {
    return {
      settings: describeSettings(this.#settings),
      pending: this.#admission.pending,
      servers: this.#servers.status(),
    }
  }

  /**
   * Closes every connection and opens new ones. Operations in progress may fail. `session_pgsql_reset()` of the C
   * extension.
   */
  async reset(): Promise<void> {
    this.#admission.checkOpen()
    await this.#servers.reset()
    await this.open()
  }

  /**
   * Waits for operations in progress, then closes every connection that the handler opened; a pool that the caller
   * passed in stays open. Then the process can exit. May be called twice.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** No caller waits for a failback: an error is reported, and the columns remain to be filled. */
  #columnsAtFailback(text: string, events: Events): ColumnTexts | undefined {
    try {
      return this.#sessions.columnsOf(text)
    } catch (error) {
      events.report(error as Error)
      return undefined
    }
  }

  #endListener(server: Server, events: Events): EndListener {
    const { operationTimeout, ids } = this.#settings
    return new EndListener({
      server,
      operationTimeout,
      onEnded: ({ id, custom, reason }) => {
        // While ids are moved to the hashed form, the row may have had either.
        const form = ids === 'plain' ? id : hashedId(id)
        events.emit('ended', { id: form, custom, reason, server: server.name })
      },
      onMissed: () => events.emit('missed', { server: server.name }),
      onError: (error) => events.report(error),
    })
  }

  #listen(): void {
    if (this.#closed !== undefined) return
    for (const listener of this.#endListeners.values()) void listener.start()
  }

  async #close(): Promise<void> {
    this.#admission.close()
    await Promise.all([...this.#endListeners.values()].map((listener) => listener.close()))
    this.#collector.close()
    this.#garbage.close()
    await this.#admission.idle()
    await this.#journal.close()
    await this.#servers.close()
  }
}

/** @internal Operations on sessions by the stored forms of their ids; see `SaveHandler.listed`. */
export interface ListedSessions<Data>
  extends Pick<SaveHandler<Data>, 'read' | 'write' | 'update' | 'destroy' | 'snapshot' | 'merge'> {
  /** Returns the stored form of a record's id. */
  formOf(record: SessionRecord<Data>): string
  /** Returns the stored form that this process gives to a new session. */
  formOfNew(id: string): string
}

/** @throws INVALID_ARGUMENT if no table can hold such an id */
function listedId(form: string): StoredId {
  checkText('id', form)
  if (form === HASHED_ID_PREFIX) {
    throw invalid(
      'Invalid session id: the row with this id marks a table with hashed ids, and is no session.',
    )
  }
  return new StoredId(form)
}
