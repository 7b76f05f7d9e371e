import type { Codec } from '../codec/codec.ts'
import { textOrReason } from '../codec/sealed.ts'
import { invalid, received, SessionPgsqlError } from '../errors.ts'
import type {
  DestroyAllOptions,
  DestroyByFieldOptions,
  JournalEntry,
  LimitByFieldOptions,
  ServerDue,
  ServerSweep,
} from '../operations.ts'
import type { Server } from '../servers/server.ts'
import type { Servers } from '../servers/servers.ts'
import { checkLifetime, checkText } from '../session/checks.ts'
import type { ColumnFilter, Columns } from '../session/columns.ts'
import { type Devices, deviceOf, handleOf } from '../session/device.ts'
import type { EndReason } from '../session/ended.ts'
import type {
  CountOptions,
  FoundSessions,
  Incomplete,
  ListedSession,
  ListOptions,
  SessionFilter,
  SessionPage,
} from '../session/filter.ts'
import { sessionsBeyond } from '../session/limit.ts'
import { infoOf, SessionRecord } from '../session/record.ts'
import type { ServerStatistics } from '../session/statistics.ts'
import { type ColumnTexts, clockNow, remaining, type StoredSession } from '../session/stored.ts'
import { hashedId, type IdsMode, storedForm } from '../session/stored-id.ts'
import { countUnfilled, fillColumns, openWithColumns } from '../table/filling.ts'
import { readEvents } from '../table/journal.ts'
import { countSessions, listSessions, mergePages, timeLimitOf } from '../table/listing.ts'
import { lockOwner, releaseLock, takeLock } from '../table/locks.ts'
import { tableStatistics } from '../table/statistics.ts'
import { endBeyond, userSessions } from '../table/user-sessions.ts'
import type { Admission } from './admission.ts'
import type { Events } from './events.ts'
import type { Garbage } from './gc.ts'
import type { Journal } from './journal.ts'

/** The most sessions that `findByField` returns. */
const MOST_FOUND = 10_000

/** The most sessions that are destroyed at once, so that the operations of requests do not wait for all of them. */
const AT_ONCE = 1000

export interface AdministrationOptions<Data> {
  readonly servers: Servers
  readonly admission: Admission
  readonly events: Events
  readonly garbage: Garbage
  readonly journal: Journal
  readonly codec: Codec<Data>
  /** The option `columns`. */
  readonly columns: Columns
  /** Returns the values of the computed columns for encoded data. */
  readonly columnsOf: (text: string) => ColumnTexts | undefined
  readonly whenHomeIsDown: 'absent' | 'error'
  /** Seconds. */
  readonly operationTimeout: number
  /** Seconds after its expiry for which a session may be saved. */
  readonly expiryGrace: number
  /** Seconds. */
  readonly maxLifetime: number
  readonly ids: IdsMode
  /** Destroys a session by the stored form of its id. */
  readonly destroy: (form: string, reason: EndReason) => Promise<boolean>
}

/** The operations on many sessions or on servers: lists, counts, statistics, journal, garbage collection, locks. */
export class Administration<Data> {
  readonly #options: AdministrationOptions<Data>

  constructor(options: AdministrationOptions<Data>) {
    this.#options = options
  }

  /** See `SaveHandler.open`. */
  async open(): Promise<void> {
    await this.#everywhere((server, deadline) => server.table.open(deadline))
    await this.#options.servers.learn()
  }

  /** See `SaveHandler.gc`. */
  async gc(): Promise<number> {
    const swept = await this.sweep()
    const failed = swept.flatMap(({ error }) => error ?? [])
    // A server that is unreachable does not stop the sweep of the others.
    if (failed.length === swept.length) throw failed[0]
    for (const error of failed) this.#options.events.report(error)
    return swept.reduce((sum, { removed }) => sum + removed, 0)
  }

  /** See `SaveHandler.sweep`. */
  sweep(): Promise<ServerSweep[]> {
    return this.#options.admission.run(() => this.#options.garbage.sweep())
  }

  /** See `SaveHandler.countDue`. */
  countDue(timeLimit: number): Promise<ServerDue[]> {
    return this.#options.admission.run(async () => {
      timeLimitOf({ timeLimit }) // Throws if it is not a valid limit.
      return this.#options.garbage.due(timeLimit)
    })
  }

  /** See `SaveHandler.findByField`. */
  async findByField(value: string): Promise<FoundSessions<Data>> {
    checkText('custom field', value)
    const options = { field: value, order: '-modified', limit: MOST_FOUND, text: true } as const
    const { answers, missing } = await this.#everywhere((server, deadline) =>
      listSessions(server.table, options, deadline),
    )
    const { sessions } = mergePages(answers, options)
    if (missing.length > 0 && this.#options.whenHomeIsDown === 'error') {
      throw incomplete(`Found ${sessions.length} sessions`, missing)
    }
    const { codec, columns, maxLifetime } = this.#options
    const records = sessions.map((stored) => new SessionRecord(stored, codec, maxLifetime, columns))
    return withMissing(records, missing)
  }

  /** See `SaveHandler.destroyByField`. */
  async destroyByField(value: string, { except }: DestroyByFieldOptions): Promise<number> {
    checkText('custom field', value)
    const excepted = idsIn('except', except)
    return this.#destroyAll({ field: value }, ({ id }) => !excepted.has(id))
  }

  /** See `SaveHandler.destroyWhere`. */
  async destroyWhere(where: ColumnFilter<unknown>): Promise<number> {
    const { columns, expiryGrace } = this.#options
    const conditions = columns.conditionsOf(where)
    if (conditions.length === 0) {
      throw invalid('Expected at least one column; no filter at all would destroy every session.')
    }
    const count = async (): Promise<number> => {
      const { answers } = await this.#everywhere((server, deadline) =>
        countUnfilled(server.table, conditions, expiryGrace, deadline),
      )
      return answers.reduce((sum, count) => sum + count, 0)
    }
    let destroyed = 0
    let unfilled = await count()
    for (;;) {
      const before = unfilled
      destroyed += await this.#destroyAll({ where }, () => true)
      unfilled = await count()
      if (unfilled > 0) break
      // Rows that have been filled since the first count may match.
      if (before === 0) return destroyed
    }
    const names = conditions.map(([{ name }]) => name).join(', ')
    throw new SessionPgsqlError(
      'COLUMNS_UNFILLED',
      `Destroyed ${destroyed} sessions, but ${unfilled} may match as well: processes without the functions of the option columns have written them, and ${names} may be out of date. Call fillColumns() and repeat the call.`,
    )
  }

  /** See `SaveHandler.fillColumns`. */
  fillColumns(all: boolean): Promise<number> {
    const { columns, columnsOf } = this.#options
    return this.#started(async ({ servers }) => {
      const answers = await servers.each(async ({ table }) => {
        await openWithColumns(table, columns.computed, this.#deadline())
        if (columns.computed.length === 0) return { filled: 0, failed: 0, error: undefined }
        return fillColumns(table, { columnsOf, all, deadline: () => this.#deadline() })
      })
      const broken = answers.find(({ error }) => error !== undefined)
      if (broken !== undefined) throw broken.error
      const filled = answers.reduce((sum, { answer }) => sum + (answer?.filled ?? 0), 0)
      const failed = answers.reduce((sum, { answer }) => sum + (answer?.failed ?? 0), 0)
      if (failed === 0) return filled
      const cause = answers.find(({ answer }) => answer?.error !== undefined)?.answer?.error
      const reason = cause instanceof Error ? ` ${cause.message}` : ''
      throw new SessionPgsqlError(
        'COLUMNS_UNFILLED',
        `Filled ${filled} sessions; the columns of ${failed} others cannot be computed.${reason}`,
        { cause },
      )
    })
  }

  /** See `SaveHandler.destroyAll`. */
  async destroyAll({ name }: DestroyAllOptions): Promise<number> {
    const started = performance.now()
    // By its server's clock: it began before this call, to the second.
    const isEarlier = (session: StoredSession): boolean =>
      session.began === null || session.began <= clockNow(session) - (performance.now() - started) / 1000 + 1
    return this.#destroyAll({ name }, isEarlier)
  }

  /** See `SaveHandler.limitByField`. */
  async limitByField(value: string, max: number, { keep }: LimitByFieldOptions): Promise<number> {
    checkText('custom field', value)
    if (!Number.isSafeInteger(max) || max < 1) {
      throw invalid(`Expected max to be an integer of at least 1; received ${received(max)}.`)
    }
    const kept = idsIn('keep', keep)
    return this.#started(async ({ expiryGrace, servers }) => {
      const [only, ...others] = servers.all
      if (only !== undefined && others.length === 0) {
        return endBeyond(only.table, { field: value, max, keep: kept, expiryGrace }, this.#deadline())
      }
      const { answers, missing } = await servers.everywhere(({ table }) =>
        userSessions(table, value, expiryGrace, this.#deadline()),
      )
      // During failback a session is on two servers.
      const sessions = new Map(answers.flat().map((session) => [session.id, session]))
      const ending = sessionsBeyond([...sessions.values()], max, kept)
      const ended = await this.#destroyEach(
        ending.map(({ id }) => id),
        'limited',
      )
      if (missing.length > 0) throw incomplete(`Destroyed ${ended} sessions`, missing)
      return ended
    })
  }

  /** See `SaveHandler.devices`. */
  async devices(field: string, current: string | undefined): Promise<Devices<Data>> {
    const found = await this.findByField(field)
    const own = current && handleOf(current)
    const devices = found.map((record) => deviceOf(record, record.data, handleOf(record.id) === own))
    return withMissing(devices, found.missing)
  }

  /** See `SaveHandler.endDevice`. */
  async endDevice(field: string, handle: string): Promise<boolean> {
    checkText('custom field', field)
    // The handle is compared here, among the sessions of this field only: it selects no row by itself.
    const { ids, missing } = await this.#idsOf({ field }, ({ id }) => handleOf(id) === handle)
    if (ids.length === 0 && missing.length > 0) throw incomplete('Did not find the session', missing)
    return (await this.#destroyEach(ids, 'destroyed')) > 0
  }

  /** See `SaveHandler.list`. */
  async list(options: ListOptions): Promise<SessionPage> {
    const { answers, missing } = await this.#everywhere((server, deadline) =>
      listSessions(server.table, options, deadline),
    )
    const page = mergePages(answers, options)
    const sessions = page.sessions.map((stored): ListedSession => {
      const { columns, text } = stored
      const info = infoOf(stored, this.#options.maxLifetime)
      return {
        ...info,
        ...(options.text && textOrReason(text)),
        ...(columns === undefined ? {} : { columns }),
      }
    })
    return withMissing(Object.assign(sessions, { next: page.next }), missing)
  }

  /** See `SaveHandler.count`. */
  async count(options: CountOptions): Promise<number> {
    const { answers, missing } = await this.#everywhere((server, deadline) =>
      countSessions(server.table, options, deadline),
    )
    const count = answers.reduce((sum, one) => sum + one, 0)
    if (missing.length > 0) throw incomplete(`Counted ${count} sessions`, missing)
    return count
  }

  /** See `SaveHandler.statistics`. */
  statistics(before: readonly ServerStatistics[]): Promise<ServerStatistics[]> {
    return this.#started(async ({ servers }) => {
      const answers = await servers.each((server) => {
        const { table } = before.find(({ name }) => name === server.name) ?? {}
        return tableStatistics(server.table, table, this.#deadline())
      })
      return answers.map(({ name, answer, error }) => ({ name, table: answer, error }))
    })
  }

  /** See `SaveHandler.journal`. */
  async journal(seconds: number): Promise<JournalEntry[]> {
    if (typeof seconds !== 'number' || !(seconds >= 0)) {
      throw invalid('Expected seconds to be a number, 0 or greater.')
    }
    return this.#started(async ({ servers, journal }) => {
      const answers = await servers.each(({ table }) => readEvents(table, seconds, this.#deadline()))
      return answers
        .flatMap(({ name, answer = [] }) => answer.flatMap((event) => journal.entryOf(name, event) ?? []))
        .sort((one, other) => one.at.getTime() - other.at.getTime())
    })
  }

  /** See `SaveHandler.tryLock`. */
  tryLock(id: string, owner: string, seconds: number): Promise<boolean> {
    checkText('lock owner', owner)
    checkLifetime(seconds)
    return this.#atHome(id, (table, form, deadline) => takeLock(table, form, owner, seconds, deadline))
  }

  /** See `SaveHandler.unlock`. */
  unlock(id: string, owner: string): Promise<boolean> {
    return this.#atHome(id, (table, form, deadline) => releaseLock(table, form, owner, deadline))
  }

  /** See `SaveHandler.lockOwner`. */
  lockOwner(id: string): Promise<string | undefined> {
    return this.#atHome(id, (table, form, deadline) => lockOwner(table, form, deadline))
  }

  /** Destroys all sessions that match, until none is found. Returns the number of those that had not expired. */
  async #destroyAll(filter: SessionFilter, matches: (session: StoredSession) => boolean): Promise<number> {
    const { expiryGrace } = this.#options
    let destroyed = 0
    for (;;) {
      // A request in progress may still save a session that has just expired.
      const { ids, missing } = await this.#idsOf(
        { ...filter, active: 'any' },
        (session) => remaining(session) >= -expiryGrace && matches(session),
      )
      const count = await this.#destroyEach(ids, 'destroyed')
      destroyed += count
      // A request may have created another one meanwhile.
      if (count > 0) continue
      if (missing.length === 0) return destroyed
      throw incomplete(`Destroyed ${destroyed} sessions`, missing)
    }
  }

  /** Destroys sessions by the stored forms of their ids. Returns the number of those that had not expired. */
  async #destroyEach(forms: readonly string[], reason: EndReason): Promise<number> {
    let destroyed = 0
    for (let at = 0; at < forms.length; at += AT_ONCE) {
      const some = forms.slice(at, at + AT_ONCE)
      const ended = await Promise.all(some.map((form) => this.#options.destroy(form, reason)))
      destroyed += ended.filter(Boolean).length
    }
    return destroyed
  }

  /** Returns the ids of all sessions that match, and the servers that could not be asked. */
  async #idsOf(
    filter: SessionFilter,
    matches: (session: StoredSession) => boolean,
  ): Promise<{ ids: string[]; missing: string[] }> {
    const ids = new Set<string>()
    const unreached = new Set<string>()
    let after: string | undefined
    for (;;) {
      const options: ListOptions = { ...filter, after, limit: 1000 }
      const { answers, missing } = await this.#everywhere((server, deadline) =>
        listSessions(server.table, options, deadline),
      )
      const page = mergePages(answers, options)
      for (const session of page.sessions) if (matches(session)) ids.add(session.id)
      // A server that is back for the next page is continued after this one: what it has before is missing.
      for (const name of missing) unreached.add(name)
      after = page.next
      if (after === undefined) return { ids: [...ids], missing: [...unreached] }
    }
  }

  /** Asks the home server of an id about something other than its session, outside the queue of the id. */
  #atHome<T>(
    id: string,
    ask: (table: Server['table'], form: string, deadline: number) => Promise<T>,
  ): Promise<T> {
    return this.#started(({ servers, ids }) => {
      const deadline = this.#deadline()
      const form = storedForm(id, ids)
      return servers.ask(form, deadline, ({ table }) => ask(table, form, deadline))
    })
  }

  /** Asks every server that can be reached; rejects if none can. */
  #everywhere<T>(
    ask: (server: Server, deadline: number) => Promise<T>,
  ): Promise<{ answers: T[]; missing: string[] }> {
    return this.#started(({ servers }) => servers.everywhere((server) => ask(server, this.#deadline())))
  }

  #started<T>(work: (options: AdministrationOptions<Data>) => Promise<T>): Promise<T> {
    return this.#options.admission.run(async () => {
      await this.#options.servers.starting
      return work(this.#options)
    })
  }

  #deadline(): number {
    return performance.now() + this.#options.operationTimeout * 1000
  }
}

/** Returns the stored ids that an option names. @throws INVALID_ARGUMENT */
function idsIn(option: string, ids: string | readonly string[] | undefined): ReadonlySet<string> {
  const all: readonly unknown[] = typeof ids === 'string' ? [ids] : (ids ?? [])
  if (Array.isArray(all) && all.every((id) => typeof id === 'string'))
    return new Set(all.flatMap((id) => [id, hashedId(id)]))
  throw invalid(`Expected ${option} to be a session id or an array of them; received ${received(ids)}.`)
}

/** The property is not enumerable, so that an array of sessions equals one without it. */
function withMissing<Sessions extends object>(
  sessions: Sessions,
  missing: readonly string[],
): Sessions & Incomplete {
  return Object.defineProperty(sessions, 'missing', { value: missing }) as Sessions & Incomplete
}

function incomplete(done: string, missing: readonly string[]): SessionPgsqlError {
  return new SessionPgsqlError(
    'SERVER_DOWN',
    `${done}, but cannot reach these servers: ${missing.join(', ')}. Repeat the call when they are back.`,
  )
}
