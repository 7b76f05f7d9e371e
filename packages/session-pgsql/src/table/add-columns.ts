import { setTimeout } from 'node:timers/promises'
import { plain } from '../database/database.ts'
import { isLocked } from '../database/faults.ts'
import { SessionPgsqlError } from '../errors.ts'
import { isTrue } from './answers.ts'
import { columnDefinitions, columnIndexes, FILLED, unfilledIndexMark } from './computed-columns.ts'
import {
  addColumnsStatement,
  quoteIdentifier,
  quoteLiteral,
  readable,
  sqlName,
  type TableName,
} from './definition.ts'
import { missingAddedColumns } from './inspect.ts'
import { eq, gt, setLockTimeout } from './sql.ts'
import type { SessionTable } from './table.ts'

/**
 * Milliseconds for which ADD COLUMN waits for the table, because every other statement waits behind it, and between two
 * attempts. Without the limit, one long-running reader stalls all sessions for as long as it runs.
 */
const LOCK_TIMEOUT = 100
const PAUSE = 400

/** Milliseconds for the creation of one index, which blocks no other statement. */
const INDEX_TIMEOUT = 86_400_000

/** What `addColumns` has changed. */
export interface AddedColumns {
  /** The names of the columns. */
  readonly columns: readonly string[]
  /** The statements that created indexes. */
  readonly indexes: readonly string[]
}

/**
 * Adds the computed columns and indexes that an existing table lacks. Requests continue meanwhile: the lock for ADD
 * COLUMN is awaited in short attempts until the deadline, and indexes are created CONCURRENTLY.
 *
 * @throws TIMEOUT if the table stays locked; PRIVILEGE_MISSING with the statements if the user is not its owner
 */
export async function addColumns(table: SessionTable, deadline: number): Promise<AddedColumns> {
  const { columns } = table
  const { name } = await table.open(deadline)
  if (columns.all.length === 0) return { columns: [], indexes: [] }
  const added = await addMissing(table, name, deadline)
  const indexes = await createIndexes(table, name, deadline)
  table.forget()
  await table.open(deadline)
  return { columns: added, indexes }
}

/** Returns the statement that adds these computed columns to an existing table. */
export function addComputedStatement(
  name: TableName,
  definitions: readonly (readonly [column: string, type: string])[],
): string {
  const added = definitions.map(([column, type]) => `ADD COLUMN IF NOT EXISTS ${column} ${type}`)
  return `ALTER TABLE ${sqlName(name)} ${added.join(', ')}`
}

async function addMissing(table: SessionTable, name: TableName, deadline: number): Promise<string[]> {
  for (;;) {
    const { found, user } = await table.inspect(deadline)
    const lacks = [...table.columns.all.map((column) => column.name), FILLED].filter(
      (column) => !found?.columns.has(column),
    )
    const ours = found === undefined ? [] : missingAddedColumns(found)
    if (lacks.length === 0 && ours.length === 0) return []
    const quoted = lacks.map(quoteIdentifier)
    const definitions = columnDefinitions(table.columns).filter(
      ([column]) => quoted.includes(column) || (column === FILLED && lacks.includes(FILLED)),
    )
    const statements = [
      ...(ours.length === 0 ? [] : [addColumnsStatement(name, ours)]),
      ...(definitions.length === 0 ? [] : [addComputedStatement(name, definitions)]),
    ]
    try {
      await table.transaction(async (query) => {
        await query(plain(`SELECT ${setLockTimeout(LOCK_TIMEOUT)}`), [])
        for (const statement of statements) await query(plain(statement), [])
      }, deadline)
      return lacks
    } catch (error) {
      const sqlState = error instanceof SessionPgsqlError ? error.sqlState : undefined
      if (sqlState === '42501') throw notOwner(name, user, statements, error)
      if (!isLocked(sqlState)) throw error
      if (performance.now() + PAUSE > deadline) throw stillLocked(name, error)
      await setTimeout(PAUSE)
    }
  }
}

function notOwner(
  name: TableName,
  user: string,
  statements: readonly string[],
  cause: unknown,
): SessionPgsqlError {
  return new SessionPgsqlError(
    'PRIVILEGE_MISSING',
    `The database user ${user} does not own ${sqlName(name)}. Run as its owner: ${statements.map(readable).join('; ')};`,
    { cause, sqlState: '42501' },
  )
}

function stillLocked(name: TableName, cause: unknown): SessionPgsqlError {
  return new SessionPgsqlError(
    'TIMEOUT',
    `Cannot add columns to ${sqlName(name)}: transactions use it all the time. End the long ones (see pg_stat_activity), or repeat the command with a longer --timeout.`,
    { cause },
  )
}

/** Creates the missing indexes, and removes those that were abandoned halfway or serve another set of columns. */
async function createIndexes(table: SessionTable, name: TableName, deadline: number): Promise<string[]> {
  const send = (statement: string) =>
    table.queryUnopened(plain(statement), [], performance.now() + INDEX_TIMEOUT)
  const before = await readIndexes(table, name, deadline)
  if (before.some(({ inProgress }) => inProgress)) {
    throw new SessionPgsqlError(
      'DATABASE',
      `Another process is creating an index on ${sqlName(name)}. Repeat the command when it has finished.`,
    )
  }
  const isOurs = ({ column, condition }: Index): boolean =>
    condition.includes(FILLED) || table.columns.all.some((one) => one.name === column)
  for (const index of before.filter((index) => !index.valid && isOurs(index))) {
    await send(`DROP INDEX CONCURRENTLY IF EXISTS ${index.name}`)
  }
  const usable = before.filter(({ valid }) => valid)
  const mark = unfilledIndexMark(table.columns)
  const isUnfilledIndex = ({ condition }: Index): boolean => condition.includes(`<> ${mark}`)
  const missing = columnIndexes(name, table.columns, ' CONCURRENTLY').filter(({ column }) =>
    column === undefined
      ? !usable.some(isUnfilledIndex)
      : !usable.some((index) => index.column === column && index.condition === ''),
  )
  for (const { statement } of missing) await send(statement)
  for (const index of usable) {
    if (index.condition.includes(FILLED) && !isUnfilledIndex(index)) {
      await send(`DROP INDEX CONCURRENTLY IF EXISTS ${index.name}`)
    }
  }
  return missing.map(({ statement }) => readable(statement))
}

interface Index {
  /** With its schema, quoted. */
  readonly name: string
  /** The first column. */
  readonly column: string
  /** The condition of a partial index as PostgreSQL prints it; otherwise empty. */
  readonly condition: string
  readonly valid: boolean
  readonly inProgress: boolean
}

async function readIndexes(table: SessionTable, name: TableName, deadline: number): Promise<Index[]> {
  const rows = await table.queryUnopened(
    plain(`
      SELECT c.relname, a.attname, coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''), i.indisvalid,
        EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE ${eq('p.index_relid', 'i.indexrelid')})
      FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON ${eq('c.oid', 'i.indexrelid')}
        JOIN pg_catalog.pg_attribute a ON ${eq('a.attrelid', 'i.indrelid')} AND ${eq('a.attnum', 'i.indkey[0]')}
      WHERE ${eq('i.indrelid', `${quoteLiteral(sqlName(name))}::pg_catalog.regclass::pg_catalog.oid`)}
        AND ${gt('a.attnum', '0')}`),
    [],
    deadline,
  )
  return rows.map(([index, column, condition, valid, inProgress]) => ({
    name: sqlName({ schema: name.schema, table: index as string }),
    column: column as string,
    condition: condition as string,
    valid: isTrue(valid),
    inProgress: isTrue(inProgress),
  }))
}
