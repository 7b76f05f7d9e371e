import {
  type CountOptions,
  type ListOptions,
  type SaveHandler,
  type SessionInfo,
  type SessionOrder,
  SessionPgsqlError,
} from 'session-pgsql'
import { Refusal } from './answers.ts'
import type { Amount, End, Role, SessionData, SessionDetail, SessionRow, SessionsPage } from './api.ts'
import { shortened, TOLD } from './audit.ts'
import { sum } from './overview.ts'
import { Seal } from './seal.ts'
import { treeOf } from './tree.ts'
import type { Watch } from './watch.ts'

/** Seconds that a look may take, after which PostgreSQL ends it: no look is to be a burden. */
export const TIME_LIMIT = 0.2

/** Most rows of which all can be sorted within it. */
const SORTABLE = 50_000

const BY_ID = ['id', '-id']
const COLUMNS = ['created', 'modified', 'expires', 'accesses', 'errors']
const BY_ANY = [...BY_ID, ...COLUMNS, ...COLUMNS.map((column) => `-${column}`)]

/** Most sessions of a page, and of one end. */
const MOST_LISTED = 200
const MOST_ENDED = 1000

/** What an id that was shortened ends with. */
const CUT = '…'

/**
 * Looks at sessions and ends them. A reader gets of every id the beginning alone: in PHP, and wherever the cookie
 * is not signed, who knows the id is in. He can open what he sees by that beginning, and find nothing out that is
 * longer.
 */
export class SessionsDesk {
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  readonly #sessions: SaveHandler<any>
  readonly #watch: Watch
  readonly #seal = new Seal()

  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  constructor(sessions: SaveHandler<any>, watch: Watch) {
    this.#sessions = sessions
    this.#watch = watch
  }

  async page(query: URLSearchParams, role: Role): Promise<SessionsPage> {
    const by = query.get('by') || undefined
    const q = (query.get('q') ?? '').trim()
    const filter = filterOf(by, q, query.get('name') || undefined, role)
    const orders = await this.#ordersFor(filter)
    const order = query.get('order') || 'id'
    if (!orders.includes(order)) {
      throw new Refusal(
        400,
        BY_ANY.includes(order)
          ? 'So many sessions cannot be put into this order quickly: no index serves it. Search first, by field or by id; or use the order by id.'
          : `Expected the order to be one of ${orders.join(', ')}.`,
      )
    }
    const limit = wholeNumber(query.get('limit') || '50', 1, MOST_LISTED, 'limit')
    const after = query.get('after') || undefined
    const options: ListOptions = {
      ...filter,
      order: order as SessionOrder,
      limit,
      timeLimit: TIME_LIMIT,
      ...(after === undefined ? {} : { after: this.#seal.open(after) }),
    }
    const found = await inTime(this.#sessions.list(options), by)
    const whole = after === undefined && found.next === undefined
    const total = whole ? { value: found.length, exact: true } : await this.#total(filter, by)
    return {
      sessions: found.map((session) => rowOf(session, role)),
      ...(found.next === undefined ? {} : { next: this.#seal.close(found.next) }),
      ...(total === undefined ? {} : { total }),
      orders,
    }
  }

  async one(id: string, role: Role): Promise<SessionDetail> {
    const [found, another] = await this.#find(id, role)
    if (found === undefined) throw new Refusal(404, 'There is no such session, or it has ended.')
    if (another !== undefined) throw new Refusal(400, 'Several sessions begin so.')
    return rowOf(found, role)
  }

  /** For operators, who are given whole ids. Also of one that has expired, as long as its row is there. */
  async data(id: string): Promise<SessionData> {
    const [found] = await inTime(
      this.#sessions.list({ id, active: 'any', text: true, limit: 1, timeLimit: TIME_LIMIT }),
      'id',
    )
    if (found === undefined) throw new Refusal(404, 'There is no such session, or it has ended.')
    return treeOf(found.text ?? '', this.#sessions.status().settings.codec)
  }

  async count(field: string): Promise<number> {
    return inTime(this.#sessions.count({ field, timeLimit: TIME_LIMIT }), 'field')
  }

  /** @throws 400 if there are more by now than the person was told */
  async end(what: End): Promise<number> {
    if ('ids' in what) {
      const ended = await Promise.allSettled(what.ids.map((id) => this.#sessions.destroyListed(id)))
      const failed = ended.find((one) => one.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      return ended.filter((one) => one.status === 'fulfilled' && one.value).length
    }
    const count = await this.count(what.field)
    if (count > what.count) {
      throw new Refusal(400, `There are ${count} by now, not ${what.count}. Nothing was ended; ask again.`)
    }
    return this.#sessions.destroyByField(what.field)
  }

  /** Whole ids by the index; what is shortened by its beginning. */
  async #find(id: string, role: Role): Promise<SessionInfo[]> {
    const filter = id.endsWith(CUT) ? beginsWith(id.slice(0, -CUT.length), role) : { id }
    if (filter.idPrefix === '') throw new Refusal(400, 'Expected an id.')
    return inTime(this.#sessions.list({ ...filter, active: 'any', limit: 2, timeLimit: TIME_LIMIT }), 'id')
  }

  async #ordersFor(filter: CountOptions): Promise<string[]> {
    if (filter.field !== undefined || filter.id !== undefined) return BY_ANY
    const { servers } = await this.#watch.latest()
    const rows = servers.map(({ table }) => (table?.exact ? table.liveRows : Number.POSITIVE_INFINITY))
    // One that is down adds nothing to the list.
    const up = rows.filter((_, index) => servers[index]?.table !== undefined)
    return up.length > 0 && Math.max(...up) <= SORTABLE ? BY_ANY : BY_ID
  }

  /** How many there are in all: counted where that is quick, else as the last look has estimated it. */
  async #total(filter: CountOptions, by: string | undefined): Promise<Amount | undefined> {
    const { servers } = await this.#watch.latest()
    const tables = servers.flatMap(({ table }) => table ?? [])
    if (by === 'field' || (by === undefined && tables.every(({ exact }) => exact))) {
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

/** What of a POST to /api/end is meant. @throws 400 */
export function endOf({ ids, field, count }: Readonly<Record<string, unknown>>): End {
  if (ids !== undefined) {
    const fits = Array.isArray(ids) && ids.length > 0 && ids.length <= MOST_ENDED && ids.every(isText)
    if (!fits) throw new Refusal(400, `Expected 1 to ${MOST_ENDED} ids.`)
    return { ids: [...new Set(ids as string[])] }
  }
  if (!isText(field) || typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0) {
    throw new Refusal(400, 'Expected ids, or a field and the count that was shown.')
  }
  return { field, count }
}

export function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

export function wholeNumber(text: string, least: number, most: number, name: string): number {
  const value = Number(text)
  if (/^\d{1,9}$/.test(text) && value >= least && value <= most) return value
  throw new Refusal(400, `Expected ${name} to be a whole number from ${least} to ${most}.`)
}

function filterOf(by: string | undefined, q: string, name: string | undefined, role: Role): CountOptions {
  const base = name === undefined ? {} : { name }
  if (by === undefined) return base
  if (!['id', 'field', 'address', 'error'].includes(by)) {
    throw new Refusal(400, 'Expected to search by id, field, address or error.')
  }
  if (q === '') return base
  if (by === 'field') return { ...base, field: q }
  if (by === 'address') return { ...base, address: q }
  if (by === 'error') return { ...base, errorMessage: q }
  return { ...base, ...beginsWith(q.endsWith(CUT) ? q.slice(0, -CUT.length) : q, role) }
}

/** Letter by letter a reader would find out the rest: what is longer than he is shown must be all of it. */
function beginsWith(prefix: string, role: Role): CountOptions {
  return role === 'reader' && prefix.length > TOLD ? { id: prefix } : { idPrefix: prefix }
}

function rowOf({ custom, ...session }: SessionInfo, role: Role): SessionRow {
  const { created, modified, expires } = session
  return {
    id: role === 'operator' ? session.id : shortened(session.id),
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
  }
}

/** Whether PostgreSQL itself has ended it for want of time. */
export function isCutShort(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.code === 'TIMEOUT' && error.sqlState === '57014'
}

/** What was ended for want of time was not served by an index. */
async function inTime<Answer>(asked: Promise<Answer>, by: string | undefined): Promise<Answer> {
  try {
    return await asked
  } catch (error) {
    if (!isCutShort(error)) throw error
    const advice = {
      id: 'Give the whole id. (Its beginning is quick to find where sess_id has the collation "C".)',
      field:
        'There are very many with this field, or its index is missing: `session-pgsql doctor` says which.',
      address:
        'No index serves addresses in so large a table. Search by field or id; or, if addresses are often looked for, CREATE INDEX CONCURRENTLY ON the table (sess_addr_created), and another one (sess_addr_modified): the latter makes every write slower.',
      error: 'No index serves error messages in so large a table. Search by field, address or id.',
    }[by ?? '']
    throw new Refusal(
      400,
      `This search was ended after ${TIME_LIMIT * 1000} ms, so that it is no burden. ${advice ?? 'Search by field or by id.'}`,
    )
  }
}
