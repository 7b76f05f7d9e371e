import { checkText, invalid } from '../session/checks.ts'
import type { CountOptions, ListColumn, ListOptions, SessionFilter } from '../session/filter.ts'
import type { StoredSession } from '../session/stored.ts'
import { clockOf, storedOf } from './answers.ts'
import type { Shape } from './definition.ts'
import { CLOCK, recordColumns } from './statements.ts'
import type { SessionTable } from './table.ts'

/** Lists and counts: for people and for "my devices", not for every request. */

type Parameter = string | number

const COLUMNS: Record<ListColumn, string> = {
  id: 'sess_id',
  created: 'sess_created',
  modified: 'sess_modified',
  expires: 'sess_expire',
  accesses: 'sess_counter',
  errors: 'sess_error',
}

export interface Page {
  readonly sessions: readonly StoredSession[]
  /** What each is sorted by. */
  readonly keys: readonly string[]
  readonly next: string | undefined
}

export async function listSessions(
  table: SessionTable,
  options: ListOptions,
  deadline: number,
): Promise<Page> {
  const { order = 'id', limit = 100, text = false } = options
  const descending = String(order).startsWith('-')
  const name = String(order).replace(/^-/, '') as ListColumn
  const column = Object.hasOwn(COLUMNS, name) ? COLUMNS[name] : undefined
  if (column === undefined) {
    throw invalid(
      `Expected the order to be one of ${Object.keys(COLUMNS).join(', ')}, or one with a "-" before it.`,
    )
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw invalid('Expected the limit to be a whole number from 1 to 10000.')
  }
  const parameters: Parameter[] = []
  const conditions = conditionsOf(options, parameters)
  // NULL sorts like 0, so that a page can begin at it.
  const key = column === 'sess_id' ? 't.sess_id' : `coalesce(t.${column}, 0)`
  const direction = descending ? 'DESC' : 'ASC'
  if (options.after !== undefined) {
    const [value, id] = cursorOf(options.after, column)
    const compare = descending ? '<' : '>'
    conditions.push(
      column === 'sess_id'
        ? `t.sess_id ${compare} ${bind(parameters, id)}`
        : `(${key}, t.sess_id) ${compare} (${bind(parameters, value)}::bigint, ${bind(parameters, id)})`,
    )
  }
  const rows = await table.query(
    (shape, sql) => `
      SELECT ${key}::text, 'read', ${text ? 't.sess_data' : 'NULL::text'}, ${CLOCK}, ${recordColumns('t', shape)}
      FROM ${sql} t WHERE ${conditions.join(' AND ')}${noTombstones(shape)}
      ORDER BY ${key} ${direction}${column === 'sess_id' ? '' : `, t.sess_id ${direction}`} LIMIT ${limit + 1}`,
    parameters,
    deadline,
    timeLimitOf(options),
  )
  const readAt = performance.now()
  const sessions = rows.slice(0, limit).map((row) => storedOf(row, clockOf(row), readAt))
  const keys = rows.slice(0, limit).map((row) => row[0] as string)
  const more = rows.length > limit
  return { sessions, keys, next: more ? encodeCursor(keys.at(-1), sessions.at(-1)?.id) : undefined }
}

/** One page out of those of several servers, each begun after the same cursor. */
export function mergePages(pages: readonly Page[], { order = 'id', limit = 100 }: ListOptions): Page {
  if (pages.length === 1) return pages[0] as Page
  const sign = String(order).startsWith('-') ? -1 : 1
  const byId = String(order).endsWith('id')
  const entries = pages.flatMap(({ sessions, keys }) =>
    sessions.map((session, index) => ({ session, key: keys[index] as string })),
  )
  const compare = (one: string | bigint, other: string | bigint): number =>
    one < other ? -1 : +(one > other)
  entries.sort(
    (a, b) =>
      sign * ((byId ? 0 : compare(BigInt(a.key), BigInt(b.key))) || compare(a.session.id, b.session.id)),
  )
  // One that is on its way home lies in two places.
  const once = entries.filter(({ session }, index) => session.id !== entries[index - 1]?.session.id)
  const page = once.slice(0, limit)
  const last = page.at(-1)
  const more = once.length > limit || pages.some(({ next }) => next !== undefined)
  return {
    sessions: page.map(({ session }) => session),
    keys: page.map(({ key }) => key),
    next: more && last !== undefined ? encodeCursor(last.key, last.session.id) : undefined,
  }
}

/** The row of this id as it lies in the table, expired or not, with its data: for an operator to look at. */
export async function findRow(
  table: SessionTable,
  id: string,
  deadline: number,
): Promise<StoredSession | undefined> {
  const [row] = await table.query(
    (shape, sql) => `
      SELECT NULL, 'read', t.sess_data, ${CLOCK}, ${recordColumns('t', shape)} FROM ${sql} t WHERE t.sess_id = $1`,
    [id],
    deadline,
  )
  return row && storedOf(row, clockOf(row), performance.now())
}

export async function countSessions(
  table: SessionTable,
  options: CountOptions,
  deadline: number,
): Promise<number> {
  const parameters: Parameter[] = []
  const conditions = conditionsOf(options, parameters)
  const [row] = await table.query(
    (shape, sql) => `SELECT count(*) FROM ${sql} t WHERE ${conditions.join(' AND ')}${noTombstones(shape)}`,
    parameters,
    deadline,
    timeLimitOf(options),
  )
  return Number(row?.[0])
}

/** @throws INVALID_ARGUMENT */
export function timeLimitOf({ timeLimit }: Pick<CountOptions, 'timeLimit'>): number | undefined {
  if (timeLimit === undefined || (timeLimit > 0 && timeLimit <= 86_400)) return timeLimit
  throw invalid('Expected the timeLimit to be seconds, more than 0 and at most 86400.')
}

/** Of several servers: that there was a session once is nothing to list. */
function noTombstones({ ours }: Shape): string {
  return ours.has('sess_destroyed') ? ' AND t.sess_destroyed IS NULL' : ''
}

function conditionsOf(filter: SessionFilter, parameters: Parameter[]): string[] {
  const { name, id, idPrefix, field, address, errorMessage, active = true } = filter
  const conditions: string[] = []
  if (name !== undefined) checkText('name', name)
  if (field !== undefined) checkText('custom field', field)
  if (address !== undefined) checkText('address', address)
  if (name !== undefined) conditions.push(`t.sess_name = ${bind(parameters, name)}`)
  if (id !== undefined) {
    checkText('id', id)
    conditions.push(`t.sess_id = ${bind(parameters, id)}`)
  }
  if (idPrefix) {
    checkText('idPrefix', idPrefix)
    conditions.push(`t.sess_id COLLATE "C" >= ${bind(parameters, idPrefix)}`)
    const end = endOf(idPrefix)
    if (end !== undefined) conditions.push(`t.sess_id COLLATE "C" < ${bind(parameters, end)}`)
  }
  if (field !== undefined) conditions.push(`t.sess_custom = ${bind(parameters, field)}`)
  if (address !== undefined) {
    const parameter = bind(parameters, address)
    conditions.push(`(t.sess_addr_created = ${parameter} OR t.sess_addr_modified = ${parameter})`)
  }
  if (errorMessage !== undefined) {
    checkText('error message', errorMessage)
    conditions.push(`strpos(lower(t.sess_err_message), lower(${bind(parameters, errorMessage)})) > 0`)
  }
  if (active === true) conditions.push(`(t.sess_expire IS NULL OR t.sess_expire >= ${CLOCK})`)
  if (active === false) conditions.push(`t.sess_expire < ${CLOCK}`)
  return conditions.length === 0 ? ['true'] : conditions
}

/** The least text that is greater than all that begin so, in the order of code points; undefined if there is none. */
function endOf(prefix: string): string | undefined {
  const points = [...prefix]
  for (;;) {
    const last = points.pop()?.codePointAt(0)
    if (last === undefined) return undefined
    // Half a surrogate pair is no character, and after the last one nothing comes.
    if (last < 0x10ffff) return points.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1)
  }
}

function bind(parameters: Parameter[], value: Parameter): string {
  return `$${parameters.push(value)}`
}

/** Where a page ends: the sorted value and the id. Opaque to the caller. */
function encodeCursor(key: string | null | undefined, id: string | null | undefined): string {
  return Buffer.from(JSON.stringify([key, id])).toString('base64url')
}

function cursorOf(after: string, column: string): [string, string] {
  try {
    const [value, id] = JSON.parse(Buffer.from(after, 'base64url').toString())
    const fits = column === 'sess_id' ? value === id : /^-?\d{1,19}$/.test(value)
    if (fits && typeof value === 'string' && typeof id === 'string' && !id.includes('\0')) return [value, id]
  } catch {
    // Said below.
  }
  throw invalid('Expected `after` to be the `next` of the page before, in the same order.')
}
