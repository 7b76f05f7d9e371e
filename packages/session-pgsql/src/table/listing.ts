import { invalid, received } from '../errors.ts'
import { checkText } from '../session/checks.ts'
import { type Column, valuesByName } from '../session/columns.ts'
import type { CountOptions, ListColumn, ListOptions, SessionFilter } from '../session/filter.ts'
import type { StoredSession } from '../session/stored.ts'
import { hashedId } from '../session/stored-id.ts'
import { clockOf, storedOf } from './answers.ts'
import { columnsPresent, hasValue, selectColumns } from './computed-columns.ts'
import type { Shape } from './definition.ts'
import { openWithColumns } from './filling.ts'
import { formsOf, ofForms } from './id-forms.ts'
import { expiryOf, isAliveAt } from './lifetime.ts'
import { recordColumns } from './row-sql.ts'
import { BYTEWISE, CLOCK, eq, ge, gt, lt, microseconds } from './sql.ts'
import type { SessionTable } from './table.ts'

/** Lists and counts of sessions, for operators and for pages like "my devices", not for every request. */

type Parameter = string | number

const COLUMNS: Record<ListColumn, string> = {
  id: 'sess_id',
  created: 'sess_created',
  modified: 'sess_modified',
  expires: 'sess_expire',
  accesses: 'sess_counter',
  errors: 'sess_error',
}

/** A session in a list, with the values of the computed columns as they are stored, if there are any. */
export interface ListedRow extends StoredSession {
  readonly columns?: Readonly<Record<string, unknown>>
}

/** A page of a list. */
export interface Page {
  readonly sessions: readonly ListedRow[]
  /** The value of the sorted column, for each session. */
  readonly keys: readonly string[]
  /** The cursor of the next page; undefined on the last page. */
  readonly next: string | undefined
}

/** Returns one page of sessions. @throws INVALID_ARGUMENT for a wrong option */
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
      `Expected the order to be one of ${Object.keys(COLUMNS).join(', ')}, optionally preceded by "-"; received ${typeof order === 'string' ? 'another string' : typeof order}.`,
    )
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw invalid(`Expected the limit to be an integer from 1 to 10000; received ${received(limit)}.`)
  }
  const parameters: Parameter[] = []
  const conditions = await conditionsOf(table, options, parameters, deadline)
  let columns: readonly Column[] = []
  // NULL sorts like 0, so that a page can begin at it.
  const key = column === 'sess_id' ? 't.sess_id' : `coalesce(t.${column}, 0)`
  const direction = descending ? 'DESC' : 'ASC'
  if (options.after !== undefined) {
    const [value, id] = cursorOf(options.after, column)
    const isBehind = descending ? lt : gt
    conditions.push(
      column === 'sess_id'
        ? isBehind('t.sess_id', bind(parameters, id))
        : isBehind(`(${key}, t.sess_id)`, `(${bind(parameters, value)}::bigint, ${bind(parameters, id)})`),
    )
  }
  const rows = await table.query(
    (shape, sql) => {
      columns = columnsPresent(shape.columns)
      return `
      SELECT ${key}::pg_catalog.text, 'read', ${text ? 't.sess_data' : 'NULL::pg_catalog.text'},
        ${microseconds(CLOCK)}, ${recordColumns('t', shape)}${selectColumns(shape, 't')}
      FROM ${sql} t WHERE ${conditions.join(' AND ')}${ofState(options, shape)}
      ORDER BY ${key} ${direction}${column === 'sess_id' ? '' : `, t.sess_id ${direction}`} LIMIT ${limit + 1}`
    },
    parameters,
    deadline,
    timeLimitOf(options),
  )
  const readAt = performance.now()
  const sessions = rows.slice(0, limit).map((row): ListedRow => {
    const stored = storedOf(row, table.cipher, clockOf(row), readAt)
    if (columns.length === 0) return stored
    return { ...stored, columns: valuesByName(columns, row.slice(-columns.length)) }
  })
  const keys = rows.slice(0, limit).map((row) => row[0] as string)
  const more = rows.length > limit
  return { sessions, keys, next: more ? encodeCursor(keys.at(-1), sessions.at(-1)?.id) : undefined }
}

/** Merges the pages of several servers, which start after the same cursor, to one page. */
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
  // During failback a session is on two servers.
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

/**
 * Returns the row with this id, in plain or hashed form, and its data, also if it has expired; undefined if there is none.
 */
export async function findRow(
  table: SessionTable,
  id: string,
  deadline: number,
): Promise<StoredSession | undefined> {
  const rows = await table.query(
    (shape, sql) => `
      SELECT NULL, 'read', t.sess_data, ${microseconds(CLOCK)}, ${recordColumns('t', shape)}
      FROM ${sql} t WHERE (${eq('t.sess_id', '$1')} OR ${eq('t.sess_id', '$2')})
      ORDER BY t.sess_id ${BYTEWISE}`,
    [id, hashedId(id)],
    deadline,
  )
  return ofForms(rows.map((row) => storedOf(row, table.cipher, clockOf(row), performance.now())))
}

/** Returns the number of sessions that match. @throws INVALID_ARGUMENT for a wrong option */
export async function countSessions(
  table: SessionTable,
  options: CountOptions,
  deadline: number,
): Promise<number> {
  const parameters: Parameter[] = []
  const conditions = await conditionsOf(table, options, parameters, deadline)
  const [row] = await table.query(
    (shape, sql) =>
      `SELECT pg_catalog.count(*) FROM ${sql} t WHERE ${conditions.join(' AND ')}${ofState(options, shape)}`,
    parameters,
    deadline,
    timeLimitOf(options),
  )
  return Number(row?.[0])
}

/** Returns the checked time limit, in seconds. @throws INVALID_ARGUMENT */
export function timeLimitOf({ timeLimit }: Pick<CountOptions, 'timeLimit'>): number | undefined {
  if (timeLimit === undefined || (timeLimit > 0 && timeLimit <= 86_400)) return timeLimit
  throw invalid(
    `Expected the timeLimit to be a number of seconds above 0, and at most 86400; received ${received(timeLimit)}.`,
  )
}

/** Returns the condition on what a row is: no tombstone, and a session that has expired or not. */
function ofState({ active = true }: SessionFilter, shape: Shape): string {
  const tombstones = shape.added.has('sess_destroyed') ? ' AND t.sess_destroyed IS NULL' : ''
  if (active === true) return ` AND ${isAliveAt('t', shape, CLOCK)}${tombstones}`
  return active === false ? ` AND ${lt(expiryOf('t', shape), CLOCK)}${tombstones}` : tombstones
}

/** @throws TABLE_UNFIT if the table lacks a column of the filter */
async function conditionsOf(
  table: SessionTable,
  filter: SessionFilter,
  parameters: Parameter[],
  deadline: number,
): Promise<string[]> {
  const { name, id, idPrefix, field, where = {}, address, errorMessage } = filter
  const conditions: string[] = []
  const columns = table.columns.conditionsOf(where)
  await openWithColumns(
    table,
    columns.map(([column]) => column),
    deadline,
  )
  for (const [column, text] of columns) {
    conditions.push(hasValue(column, 't', text === null ? undefined : bind(parameters, text)))
  }
  if (name !== undefined) checkText('name', name)
  if (field !== undefined) checkText('custom field', field)
  if (address !== undefined) checkText('address', address)
  if (name !== undefined) conditions.push(eq('t.sess_name', bind(parameters, name)))
  if (id !== undefined) {
    checkText('id', id)
    const forms = formsOf(id).map((form) => eq('t.sess_id', bind(parameters, form)))
    conditions.push(`(${forms.join(' OR ')})`)
  }
  if (idPrefix) {
    checkText('idPrefix', idPrefix)
    conditions.push(ge(`t.sess_id ${BYTEWISE}`, bind(parameters, idPrefix)))
    const end = endOf(idPrefix)
    if (end !== undefined) conditions.push(lt(`t.sess_id ${BYTEWISE}`, bind(parameters, end)))
  }
  if (field !== undefined) conditions.push(eq('t.sess_custom', bind(parameters, field)))
  if (address !== undefined) {
    const parameter = bind(parameters, address)
    conditions.push(`(${eq('t.sess_addr_created', parameter)} OR ${eq('t.sess_addr_modified', parameter)})`)
  }
  if (errorMessage !== undefined) {
    checkText('error message', errorMessage)
    if (table.cipher.hasKeys) {
      throw invalid('Cannot filter by errorMessage: error messages are encrypted (option encryption).')
    }
    const found = `pg_catalog.lower(t.sess_err_message), pg_catalog.lower(${bind(parameters, errorMessage)})`
    conditions.push(gt(`pg_catalog.strpos(${found})`, '0'))
  }
  return conditions.length === 0 ? ['true'] : conditions
}

/** Returns the least text greater than all texts with this prefix, by code points; undefined if there is none. */
function endOf(prefix: string): string | undefined {
  const points = [...prefix]
  for (;;) {
    const last = points.pop()?.codePointAt(0)
    if (last === undefined) return undefined
    // Surrogates are skipped, because they are not characters. After the last code point, the one before it is raised.
    if (last < 0x10ffff) return points.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1)
  }
}

function bind(parameters: Parameter[], value: Parameter): string {
  return `$${parameters.push(value)}`
}

/** Encodes the end of a page: the value of the sorted column, and the id. Opaque to the caller. */
function encodeCursor(key: string | null | undefined, id: string | null | undefined): string {
  return Buffer.from(JSON.stringify([key, id])).toString('base64url')
}

function cursorOf(after: string, column: string): [string, string] {
  try {
    const [value, id] = JSON.parse(Buffer.from(after, 'base64url').toString())
    const fits = column === 'sess_id' ? value === id : /^-?\d{1,19}$/.test(value)
    if (fits && typeof value === 'string' && typeof id === 'string' && !id.includes('\0')) return [value, id]
  } catch {
    // Reported below.
  }
  throw invalid(
    'Expected `after` to be the `next` of the previous page, in the same order; received another value.',
  )
}
