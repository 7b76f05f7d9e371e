import {
  type CountOptions,
  type ListedSession,
  type ListOptions,
  type SaveHandler,
  type SessionOrder,
  SessionPgsqlError,
} from 'session-pgsql'
import type { Amount, EndRequest, Role, SessionData, SessionDetail, SessionRow, SessionsPage } from './api.ts'
import { shortenId, VISIBLE_ID_LENGTH } from './audit.ts'
import { COLUMN, columnText, searchableColumns } from './columns.ts'
import { CursorCipher } from './cursor-cipher.ts'
import type { Monitor } from './monitor.ts'
import { sum } from './overview.ts'
import { HttpError } from './responses.ts'
import { treeOf } from './tree.ts'

/** Seconds after which PostgreSQL cancels a statement of the console, so that no search burdens the database. */
export const TIME_LIMIT = 0.2

/** The maximum number of rows that PostgreSQL can sort within the time limit. */
const MAX_SORTABLE = 50_000

const ID_ORDERS = ['id', '-id']
const COLUMNS = ['created', 'modified', 'expires', 'accesses', 'errors']
const ALL_ORDERS = [...ID_ORDERS, ...COLUMNS, ...COLUMNS.map((column) => `-${column}`)]

/** The values of `by` that name no own column. */
const SEARCHES: readonly string[] = ['id', 'field', 'address', 'error']

/** The maximum number of sessions per page, and per request to end sessions. */
const MAX_PAGE = 200
const MAX_ENDED = 1000

/** The maximum number of sessions that are counted before they are ended. */
const MAX_COUNTED = 10_000

/** The end of a shortened id. */
const ELLIPSIS = '…'

/**
 * Lists, shows and ends sessions. Readers see only the beginning of ids: where the cookie is not signed, as in PHP, a
 * client that knows an id can take over the session. Readers open a session by the beginning of its id, and a search
 * does not tell them more of the id.
 */
export class SessionAdmin {
  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  readonly #sessions: SaveHandler<any>
  readonly #monitor: Monitor
  readonly #cursors = new CursorCipher()

  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  constructor(sessions: SaveHandler<any>, monitor: Monitor) {
    this.#sessions = sessions
    this.#monitor = monitor
  }

  /** @throws 400 if the query is invalid or too expensive */
  async list(query: URLSearchParams, role: Role): Promise<SessionsPage> {
    const by = query.get('by') || undefined
    const q = (query.get('q') ?? '').trim()
    const columns = searchableColumns(this.#sessions)
    const filter = filterOf(by, q, query.get('name') || undefined, role, columns)
    const orders = await this.#ordersFor(filter)
    const order = query.get('order') || 'id'
    if (!orders.includes(order)) {
      throw new HttpError(
        400,
        ALL_ORDERS.includes(order)
          ? 'There are too many sessions to sort them in this order, because no index serves it. Search by field or id first, or sort by id.'
          : `Expected order to be one of ${orders.join(', ')}; received "${order}".`,
      )
    }
    const limit = wholeNumber(query.get('limit') || '50', 1, MAX_PAGE, 'limit')
    const after = query.get('after') || undefined
    const options: ListOptions = {
      ...filter,
      order: order as SessionOrder,
      limit,
      timeLimit: TIME_LIMIT,
      ...(after === undefined ? {} : { after: this.#cursors.decrypt(after) }),
    }
    let found = await withAdvice(this.#sessions.list(options), by)
    if (found.length === 0 && filter.idPrefix !== undefined && after === undefined) {
      // No stored form begins like the id of a session with a hashed id, but the whole id leads to it.
      const { idPrefix: id, ...others } = options
      found = await withAdvice(this.#sessions.list({ ...others, id }), by)
    }
    const complete = after === undefined && found.next === undefined && found.missing.length === 0
    const total = complete ? { value: found.length, exact: true } : await this.#total(filter, by)
    return {
      sessions: found.map((session) => rowOf(session, role)),
      ...(found.next === undefined ? {} : { next: this.#cursors.encrypt(found.next) }),
      ...(total === undefined ? {} : { total }),
      ...(found.missing.length === 0 ? {} : { missing: found.missing }),
      orders,
      ...(columns.length === 0 ? {} : { columns }),
    }
  }

  /** @throws 404; 400 if a shortened id is ambiguous */
  async get(id: string, role: Role): Promise<SessionDetail> {
    const [found, another] = await this.#find(id, role)
    if (found === undefined) throw new HttpError(404, 'There is no such session. It may have ended.')
    if (another !== undefined)
      throw new HttpError(
        400,
        'Several sessions have ids with this beginning. Open the session by its whole id, as an operator.',
      )
    const searchable = searchableColumns(this.#sessions)
    return { ...rowOf(found, role), ...(searchable.length === 0 ? {} : { searchable }) }
  }

  /** Returns the data of a session by its whole id, also after it expired while its row exists. @throws 404 */
  async data(id: string): Promise<SessionData> {
    const [found] = await withAdvice(
      this.#sessions.list({ id, active: 'any', text: true, limit: 1, timeLimit: TIME_LIMIT }),
      'id',
    )
    if (found === undefined) throw new HttpError(404, 'There is no such session. It may have ended.')
    if (found.unreadable !== undefined) return { unreadable: found.unreadable }
    return treeOf(found.text ?? '', this.#sessions.status().settings.codec)
  }

  /** Counts sessions, at most 10,000 of them, on the servers that respond: to end them names the others. */
  async count(field: string): Promise<number> {
    const options = { field, limit: MAX_COUNTED, timeLimit: TIME_LIMIT }
    return (await withAdvice(this.#sessions.list(options), 'field')).length
  }

  /** @returns the number of sessions that ended. @throws 400 if more sessions have the field than the user confirmed */
  async end(target: EndRequest): Promise<number> {
    if ('ids' in target) {
      const results = await Promise.allSettled(target.ids.map((id) => this.#sessions.destroyListed(id)))
      const failed = results.find((one) => one.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      return results.filter((one) => one.status === 'fulfilled' && one.value).length
    }
    if ('all' in target) return this.#sessions.destroyAll()
    const count = await this.count(target.field)
    if (count > target.count) {
      throw new HttpError(
        400,
        `There are now ${count} sessions with this field instead of ${target.count}. None of them was ended. Try again.`,
      )
    }
    return this.#sessions.destroyByField(target.field)
  }

  /** Finds a whole id exactly, and a shortened id by its beginning. */
  async #find(id: string, role: Role): Promise<ListedSession[]> {
    const filter = id.endsWith(ELLIPSIS) ? idFilter(id.slice(0, -ELLIPSIS.length), role) : { id }
    if (filter.idPrefix === '') throw new HttpError(400, 'Expected a session id.')
    return withAdvice(
      this.#sessions.list({ ...filter, active: 'any', limit: 2, timeLimit: TIME_LIMIT }),
      'id',
    )
  }

  async #ordersFor(filter: CountOptions): Promise<string[]> {
    if (filter.field !== undefined || filter.where !== undefined || filter.id !== undefined) return ALL_ORDERS
    const { servers } = await this.#monitor.latest()
    const rows = servers.map(({ table }) => (table?.exact ? table.liveRows : Number.POSITIVE_INFINITY))
    // A server that is down returns no rows to sort.
    const up = rows.filter((_, index) => servers[index]?.table !== undefined)
    return up.length > 0 && Math.max(...up) <= MAX_SORTABLE ? ALL_ORDERS : ID_ORDERS
  }

  /** Returns the number of all matching sessions: counted if that is fast, otherwise from the last sample. */
  async #total(filter: CountOptions, by: string | undefined): Promise<Amount | undefined> {
    const { servers } = await this.#monitor.latest()
    const tables = servers.flatMap(({ table }) => table ?? [])
    if (
      by === 'field' ||
      filter.where !== undefined ||
      (by === undefined && tables.every(({ exact }) => exact))
    ) {
      return this.#sessions.count({ ...filter, timeLimit: TIME_LIMIT / 2 }).then(
        (value) => ({ value, exact: true }),
        () => undefined,
      )
    }
    if (by !== undefined) return undefined
    if (filter.name === undefined) return sum(tables, ({ sessions }) => sessions)
    if (!tables.some(({ names }) => names.some(({ name }) => name === filter.name))) return undefined
    return sum(tables, ({ names }) => names.find(({ name }) => name === filter.name)?.sessions ?? 0)
  }
}

/** Parses the body of POST /api/end. @throws 400 */
export function parseEndRequest({ ids, field, count, all }: Readonly<Record<string, unknown>>): EndRequest {
  if (all === true && ids === undefined && field === undefined) return { all }
  if (ids !== undefined) {
    const valid = Array.isArray(ids) && ids.length > 0 && ids.length <= MAX_ENDED && ids.every(isText)
    if (!valid) throw new HttpError(400, `Expected ids to be an array of 1 to ${MAX_ENDED} session ids.`)
    return { ids: [...new Set(ids as string[])] }
  }
  if (!isText(field) || typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) {
    throw new HttpError(400, 'Expected ids, field and count, or all.')
  }
  return { field, count }
}

/** Returns true if the value is a text that is not empty. */
export function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

/** Parses a query parameter. @throws 400 */
export function wholeNumber(text: string, min: number, max: number, name: string): number {
  const value = Number(text)
  if (/^\d{1,9}$/.test(text) && value >= min && value <= max) return value
  throw new HttpError(400, `Expected ${name} to be a whole number from ${min} to ${max}, received "${text}".`)
}

function filterOf(
  by: string | undefined,
  q: string,
  name: string | undefined,
  role: Role,
  columns: readonly string[],
): CountOptions {
  const base = name === undefined ? {} : { name }
  if (by === undefined) return base
  const column = columns.find((one) => by === COLUMN + one)
  if (column !== undefined) return q === '' ? base : { ...base, where: { [column]: q } }
  if (!SEARCHES.includes(by)) {
    const searches = [...SEARCHES, ...columns.map((one) => COLUMN + one)]
    throw new HttpError(400, `Expected by to be one of ${searches.join(', ')}; received "${by}".`)
  }
  if (q === '') return base
  if (by === 'field') return { ...base, field: q }
  if (by === 'address') return { ...base, address: q }
  if (by === 'error') return { ...base, errorMessage: q }
  return { ...base, ...idFilter(q.endsWith(ELLIPSIS) ? q.slice(0, -ELLIPSIS.length) : q, role) }
}

/** A reader must not guess an id character by character, so a longer prefix than readers see must be the whole id. */
function idFilter(prefix: string, role: Role): CountOptions {
  return role === 'reader' && prefix.length > VISIBLE_ID_LENGTH ? { id: prefix } : { idPrefix: prefix }
}

function rowOf({ custom, columns, ...session }: ListedSession, role: Role): SessionRow {
  const { created, modified, expires } = session
  return {
    id: role === 'operator' ? session.id : shortenId(session.id),
    name: session.name,
    created: created?.toISOString() ?? null,
    modified: modified?.toISOString() ?? null,
    expires: expires?.toISOString() ?? null,
    addressCreated: session.addressCreated,
    addressModified: session.addressModified,
    accesses: session.accesses,
    errors: session.errors,
    warnings: session.warnings,
    notices: session.notices,
    errorMessage: session.errorMessage,
    field: custom,
    ...(columns === undefined
      ? {}
      : {
          columns: Object.fromEntries(Object.entries(columns).map(([name, one]) => [name, columnText(one)])),
        }),
  }
}

/** Returns true if PostgreSQL cancelled the statement at the time limit. */
export function isCancelled(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.code === 'TIMEOUT' && error.sqlState === '57014'
}

/** Advice for a search by an own column. */
const BY_COLUMN =
  'Too many sessions have this value, or the column has no index: `session-pgsql init --columns NAME:TYPE:index` adds one.'

/** Turns a cancelled search into a 400 that says how to search instead, because no index served it. */
async function withAdvice<Result>(search: Promise<Result>, by: string | undefined): Promise<Result> {
  try {
    return await search
  } catch (error) {
    if (!isCancelled(error)) throw error
    const advice = {
      id: 'Enter the whole id. (A search by the beginning is fast if sess_id has the collation "C".)',
      field:
        'Too many sessions have this field, or its index is missing. `session-pgsql doctor` reports a missing index.',
      address:
        'No index serves addresses in a table of this size. Search by field or id. If you search by address often, use CREATE INDEX CONCURRENTLY to add an index on sess_addr_created and one on sess_addr_modified. The second one makes every write slower.',
      error: 'No index serves error messages in a table of this size. Search by field, address or id.',
    }[by ?? '']
    const isByColumn = by?.startsWith(COLUMN) === true
    throw new HttpError(
      400,
      `The search was cancelled at its limit of ${TIME_LIMIT * 1000} ms. ${isByColumn ? BY_COLUMN : (advice ?? 'Search by field or id.')}`,
    )
  }
}
