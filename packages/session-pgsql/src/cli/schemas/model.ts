import type { Columns, ColumnType } from '../../session/columns.ts'
import { FILLED, unfilledCondition } from '../../table/computed-columns.ts'
import { companionName, readable, sessionColumns, type TableName } from '../../table/definition.ts'

/** The session table and its journal as other tools describe tables. A test compares it with PostgreSQL's catalog. */

/** A type that columns of these tables have. */
export type ModelType = ColumnType | 'float8'

export interface ModelColumn {
  readonly name: string
  readonly type: ModelType
  readonly isKey: boolean
  readonly isNullable: boolean
  readonly default?: number
}

export interface ModelIndex {
  /** As PostgreSQL names it. */
  readonly name: string
  readonly method: 'btree' | 'hash' | 'gin'
  readonly columns: readonly string[]
  /** The condition of a partial index, as SQL. */
  readonly where?: string
}

export interface TableModel {
  readonly name: TableName
  readonly columns: readonly ModelColumn[]
  readonly indexes: readonly ModelIndex[]
}

/** Returns the session table with its own columns, and the journal. */
export function tableModels(name: TableName, { all }: Columns): [sessions: TableModel, journal: TableModel] {
  const column = (column: string, type: ModelType, others: Partial<ModelColumn> = {}): ModelColumn => ({
    ...{ name: column, type, isKey: false, isNullable: true },
    ...others,
  })
  const index = (
    method: ModelIndex['method'],
    columns: readonly string[],
    others: Partial<ModelIndex> = {},
  ): ModelIndex => ({ name: indexName(name.table, columns), method, columns, ...others })
  const KEY = { isKey: true, isNullable: false }
  const REQUIRED = { isNullable: false }
  const ours = sessionColumns().map(([one, type]) =>
    column(one, type.startsWith('bigint') ? 'bigint' : 'text', {
      ...(one === 'sess_id' ? KEY : {}),
      ...(type.includes('DEFAULT 0') ? { default: 0 } : {}),
    }),
  )
  const own =
    all.length === 0 ? [] : [...all.map((one) => column(one.name, one.type)), column(FILLED, 'text')]
  const methods: Partial<Record<ColumnType, ModelIndex['method']>> = { text: 'hash', jsonb: 'gin' }
  const sessions: TableModel = {
    name,
    columns: [...ours, ...own],
    indexes: [
      index('btree', ['sess_sweep']),
      index('hash', ['sess_custom']),
      index('btree', ['sess_home', 'sess_id'], { where: 'sess_home IS NOT NULL' }),
      ...all.filter((one) => one.index).map((one) => index(methods[one.type] ?? 'btree', [one.name])),
      ...(all.length === 0
        ? []
        : [index('btree', ['sess_id'], { where: readable(unfilledCondition({ all })) })]),
    ],
  }
  const journal: TableModel = {
    name: companionName(name, 'event'),
    columns: [
      column('event_id', 'text', KEY),
      column('event_at', 'float8', REQUIRED),
      column('event_kind', 'text', REQUIRED),
      column('event_about', 'text', REQUIRED),
    ],
    indexes: [],
  }
  return [sessions, journal]
}

const MAX_NAME_LENGTH = 63

/** Returns the name that PostgreSQL gives to an index: it shortens the longer of table and columns to make it fit. */
function indexName(table: string, columns: readonly string[]): string {
  let [one, other] = [table, columns.join('_')]
  const room = MAX_NAME_LENGTH - '__idx'.length
  while (one.length + other.length > room) {
    if (one.length > other.length) one = one.slice(0, -1)
    else other = other.slice(0, -1)
  }
  return `${one}_${other}_idx`
}

/** Returns a name as an identifier of TypeScript or Prisma: `phpSession` for `php_session`. */
export function camelCase(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
  const joined = words.map((word, at) => (at === 0 ? word : word[0]?.toUpperCase() + word.slice(1))).join('')
  return /^[A-Za-z]/.test(joined) ? joined : `table${joined}`
}

/** `PhpSession` for `php_session`. */
export function pascalCase(name: string): string {
  const camel = camelCase(name)
  return camel.charAt(0).toUpperCase() + camel.slice(1)
}

/** The first lines of every output: which tables it leaves out. `//` begins a comment in all of these languages. */
export function header({ name }: TableModel): string {
  const others = (['lock', 'import'] as const).map((what) => companionName(name, what).table)
  return `// The session table of session-pgsql, and its journal. Printed by \`session-pgsql init --print --for\`.
// Session locks and \`session-pgsql import\` create ${others.join(' and ')} when they are first used.`
}
