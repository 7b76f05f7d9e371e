import { plain, type Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { Columns } from '../session/columns.ts'
import { isTrue, secondsOf } from './answers.ts'
import { createWithColumns, FILLED, isOfType } from './computed-columns.ts'
import {
  ADDED_COLUMN_NAMES,
  type AddedColumn,
  addColumnsStatement,
  EXTENSION_COLUMN_NAMES,
  type ExtensionColumn,
  grantStatements,
  homeIndexStatement,
  quoteIdentifier,
  type Shape,
  sqlName,
  sweepIndexStatement,
  type TableName,
} from './definition.ts'
import { CLOCK, concat, eq, gt, microseconds, setLockTimeout } from './sql.ts'

/** The schema of a table that the settings name without one, if no schema is on the search path. */
const DEFAULT_SCHEMA = 'public'

/** The table named by the settings. Without a schema, it is the first table of that name on the search path. */
export interface WantedTable {
  readonly schema: string | undefined
  readonly table: string
}

/** The result of inspecting a server and its session table. */
export interface Inspection {
  /** The database's clock, in seconds since 1970. */
  readonly clock: number
  readonly user: string
  readonly superuser: boolean
  readonly standby: boolean
  readonly serverVersion: string
  /** The identifier of the database cluster; undefined if the role may not read it. */
  readonly systemIdentifier: string | undefined
  /** undefined: the table does not exist. */
  readonly found: FoundTable | undefined
  /** The name that a new table gets. */
  readonly place: TableName
}

/** An existing table. */
export interface FoundTable {
  readonly name: TableName
  /** `relkind` in pg_class. */
  readonly kind: string
  /** Whether the database user owns it. */
  readonly owned: boolean
  /** PostgreSQL's estimate. */
  readonly rows: number
  /** The columns' types, by name: as in pg_type for PostgreSQL's own (`int8`, `text`), otherwise with the schema. */
  readonly columns: ReadonlyMap<string, string>
  /** Whether sess_id has a unique index. */
  readonly uniqueId: boolean
  readonly sweepIndex: boolean
  readonly customIndex: boolean
  readonly homeIndex: boolean
  /** The first column of each index. */
  readonly indexed: ReadonlySet<string>
  readonly missingPrivileges: readonly string[]
  /** Whether row-level security applies to the database user. */
  readonly rowSecurity: boolean
}

/**
 * The condition: the row of pg_class `c` and pg_namespace `n` is the table $1, in the schema $2 or on the search path.
 * If no schema is on the path, it is in the schema where it would be created.
 */
export const IS_WANTED: string = `${eq('c.relname', '$1')} AND CASE
    WHEN $2::pg_catalog.text IS NOT NULL THEN ${eq('n.nspname', '$2')}
    WHEN current_schema IS NULL THEN ${eq('n.nspname', `'${DEFAULT_SCHEMA}'`)}
    ELSE pg_catalog.pg_table_is_visible(c.oid) END`

const PRIVILEGES = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] as const

const SERVER = plain(`
  SELECT ${microseconds(CLOCK)}, current_user,
    coalesce((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE ${eq('r.rolname', 'current_user')}), false),
    pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version'), current_schema,
    pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')`)

// A statement of its own: PostgreSQL checks the privilege also where the function is not called.
const SYSTEM_IDENTIFIER = plain('SELECT system_identifier FROM pg_catalog.pg_control_system()')

// Not to_regclass, which fails without USAGE on the schema.
const TABLE = plain(`
  SELECT c.oid, n.nspname, c.relname, c.relkind, pg_catalog.pg_has_role(c.relowner, 'USAGE'), c.reltuples::bigint,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
    pg_catalog.row_security_active(c.oid),
    ${PRIVILEGES.map((privilege) => `pg_catalog.has_table_privilege(c.oid, '${privilege}')`).join(', ')}
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON ${eq('n.oid', 'c.relnamespace')}
  WHERE ${IS_WANTED}`)

// Not format_type, whose result depends on the search path and on quote_all_identifiers.
const COLUMNS = plain(`
  SELECT a.attname, CASE WHEN ${eq('n.nspname', "'pg_catalog'")} THEN t.typname::pg_catalog.text
    ELSE ${concat('n.nspname::pg_catalog.text', "'.'", 't.typname::pg_catalog.text')} END
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON ${eq('t.oid', 'a.atttypid')}
    JOIN pg_catalog.pg_namespace n ON ${eq('n.oid', 't.typnamespace')}
  WHERE ${eq('a.attrelid', '$1::pg_catalog.oid')} AND ${gt('a.attnum', '0')} AND NOT a.attisdropped`)

const INDEXES = plain(`
  SELECT a.attname, i.indisunique AND ${eq('i.indnkeyatts', '1')} AND i.indpred IS NULL, m.amname
  FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON ${eq('a.attrelid', 'i.indrelid')} AND ${eq('a.attnum', 'i.indkey[0]')}
    JOIN pg_catalog.pg_class c ON ${eq('c.oid', 'i.indexrelid')}
    JOIN pg_catalog.pg_am m ON ${eq('m.oid', 'c.relam')}
  WHERE ${eq('i.indrelid', '$1::pg_catalog.oid')} AND i.indisvalid`)

/** Inspects the server and the table. Changes nothing. */
export async function inspect(query: Query, wanted: WantedTable): Promise<Inspection> {
  const [server] = await query(SERVER, [])
  const [clock, user, superuser, standby, serverVersion, currentSchema, mayControl] = server as string[]
  const [control] = isTrue(mayControl) ? await query(SYSTEM_IDENTIFIER, []) : []
  const [row] = await query(TABLE, [wanted.table, wanted.schema ?? null])
  const inspection = {
    clock: secondsOf(clock),
    user: user as string,
    superuser: isTrue(superuser),
    standby: isTrue(standby),
    serverVersion: serverVersion as string,
    systemIdentifier: control?.[0] ?? undefined,
    place: { schema: wanted.schema ?? currentSchema ?? DEFAULT_SCHEMA, table: wanted.table },
  }
  if (row === undefined) return { ...inspection, found: undefined }

  const oid = row[0] as string
  const columns = new Map((await query(COLUMNS, [oid])) as [string, string][])
  const indexes = await query(INDEXES, [oid])
  return {
    ...inspection,
    found: {
      name: { schema: row[1] as string, table: row[2] as string },
      kind: row[3] as string,
      owned: isTrue(row[4]),
      rows: Number(row[5]),
      columns,
      uniqueId: indexes.some(([column, unique]) => column === 'sess_id' && isTrue(unique)),
      sweepIndex: indexes.some(([column, , method]) => column === 'sess_sweep' && method === 'btree'),
      customIndex: indexes.some(([column]) => column === 'sess_custom'),
      homeIndex: indexes.some(([column]) => column === 'sess_home'),
      indexed: new Set(indexes.map(([column]) => column as string)),
      missingPrivileges: [
        ...(isTrue(row[6]) ? [] : ['USAGE']),
        ...PRIVILEGES.filter((_, index) => !isTrue(row[8 + index])),
      ],
      rowSecurity: isTrue(row[7]),
    },
  }
}

/**
 * Runs a transaction that creates a table if it does not exist, and once more if another process creates it at the same
 * time: PostgreSQL then rejects the second creation after the first is committed. An advisory lock would let any role
 * prevent the creation.
 */
export async function creating<T>(transaction: () => Promise<T>): Promise<T> {
  return transaction().catch((error) => {
    if (!(error instanceof SessionPgsqlError) || !CREATED_MEANWHILE.has(error.sqlState ?? '')) throw error
    return transaction()
  })
}

/** SQLSTATEs: duplicate table or object; unique violation, in the catalog. */
const CREATED_MEANWHILE = new Set(['42P07', '42710', '23505'])

/**
 * Creates the table, or adds its missing columns and indexes. Returns the new inspection.
 *
 * @param columns the option `columns`, for a new table only
 */
export async function createTable(query: Query, wanted: WantedTable, columns: Columns): Promise<Inspection> {
  const before = await inspect(query, wanted)
  if (!wantsCreation(before)) return before
  if (before.found === undefined) {
    for (const text of createWithColumns(before.place, columns)) await query(plain(text), [])
    return inspect(query, wanted)
  }
  // One process at a time: two would create every index twice. Reads and writes of the table do not wait for this lock.
  await query(plain(`SELECT ${setLockTimeout(1000)}`), [])
  await query(plain(`LOCK TABLE ${sqlName(before.found.name)} IN SHARE UPDATE EXCLUSIVE MODE`), [])
  // They do wait behind these statements.
  await query(plain(`SELECT ${setLockTimeout(100)}`), [])
  const { found = before.found } = await inspect(query, wanted)
  const missing = missingAddedColumns(found)
  if (missing.length > 0) await query(plain(addColumnsStatement(found.name, missing)), [])
  for (const text of missingIndexes(found)) await query(plain(text), [])
  return inspect(query, wanted)
}

export function missingAddedColumns(found: FoundTable): AddedColumn[] {
  return ADDED_COLUMN_NAMES.filter((column) => !found.columns.has(column))
}

/** None for a large table: creating an index would block its writers. There `doctor` shows the command. */
function missingIndexes({ name, rows, sweepIndex, homeIndex }: FoundTable): string[] {
  if (rows >= 100_000) return []
  return [
    ...(sweepIndex ? [] : [sweepIndexStatement(name)]),
    ...(homeIndex ? [] : [homeIndexStatement(name)]),
  ]
}

export function missingExtensionColumns(found: FoundTable): ExtensionColumn[] {
  return EXTENSION_COLUMN_NAMES.filter((column) => !found.columns.has(column))
}

/** Returns true if `createTable` would change anything. */
export function wantsCreation(inspection: Inspection): boolean {
  const { found } = inspection
  if (inspection.standby) return false
  if (found === undefined) return true
  return found.owned && (missingAddedColumns(found).length > 0 || missingIndexes(found).length > 0)
}

/**
 * Returns the table's shape.
 *
 * @param maxLifetime the setting
 * @param columns the option `columns`
 * @throws TABLE_MISSING, TABLE_UNFIT or PRIVILEGE_MISSING, with how to fix it
 */
export function shapeOf(
  inspection: Inspection,
  maxLifetime: number,
  columns: Columns = new Columns(),
): Shape {
  const { found, place, user } = inspection
  if (found === undefined) {
    throw new SessionPgsqlError(
      'TABLE_MISSING',
      `The session table ${sqlName(place)} does not exist. Create it with \`session-pgsql init\`, or run the statements ` +
        'that `session-pgsql init --print` shows in a migration, or set createTable to true.',
    )
  }
  const table = sqlName(found.name)
  if (found.missingPrivileges.length > 0) throw missingPrivilege(found.name, user, found.missingPrivileges)
  if (found.rowSecurity) throw rowSecurityFault(found.name)
  if (found.kind !== 'r' && found.kind !== 'p') {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `Expected ${table} to be a table; found another kind of relation, such as a view.`,
    )
  }
  const missing = missingExtensionColumns(found)
  if (missing.length > 0) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `The table ${table} lacks the columns ${missing.join(', ')}. Add them as \`session-pgsql init --print\` shows, or set another table (option \`table\`).`,
    )
  }
  if (!found.uniqueId) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `The column sess_id of ${table} has no unique index. Add one: ALTER TABLE ${table} ADD PRIMARY KEY (sess_id).`,
    )
  }
  return {
    name: found.name,
    added: new Set(ADDED_COLUMN_NAMES.filter((column) => found.columns.get(column) === ADDED_TYPES[column])),
    narrow: narrowColumns(found),
    digestSeed: inspection.systemIdentifier,
    maxLifetime,
    sweepIndex: found.sweepIndex,
    columns: columnsOf(found, columns),
  }
}

/** A table that lacks some of the columns works without them, until `session-pgsql init` adds them. */
function columnsOf(found: FoundTable, wanted: Columns): Shape['columns'] {
  const present = wanted.all.filter((column) => {
    const type = found.columns.get(column.name)
    if (type === undefined || isOfType(column, type)) return type !== undefined
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `Expected the column ${column.name} of ${sqlName(found.name)} to be ${column.type}, as in the option columns; found ${type}.`,
    )
  })
  return { wanted, present: new Set(present.map(({ name }) => name)), marked: found.columns.has(FILLED) }
}

const ADDED_TYPES: Record<AddedColumn, string> = {
  sess_sweep: 'int8',
  sess_generation: 'int8',
  sess_version: 'int8',
  sess_began: 'int8',
  sess_home: 'text',
  sess_base: 'text',
  sess_destroyed: 'int8',
}

const TEXTS = ['text', 'varchar']

function narrowColumns(found: FoundTable): ReadonlySet<ExtensionColumn> {
  const narrow = new Set<ExtensionColumn>()
  for (const column of EXTENSION_COLUMN_NAMES) {
    const type = found.columns.get(column) as string
    const isText = /_(id|name|data|addr_created|addr_modified|err_message|custom)$/.test(column)
    if (isText ? !TEXTS.includes(type) : type !== 'int8' && type !== 'int4') {
      throw new SessionPgsqlError(
        'TABLE_UNFIT',
        `Expected the column ${column} of ${sqlName(found.name)} to be ${isText ? 'text' : 'bigint or integer'}; found ${type}.`,
      )
    }
    if (type === 'int4') narrow.add(column)
  }
  return narrow
}

/** Returns the error for a database user without a privilege, with the GRANT statements. */
export function missingPrivilege(
  name: TableName,
  user: string,
  missing: readonly string[],
): SessionPgsqlError {
  return new SessionPgsqlError(
    'PRIVILEGE_MISSING',
    `The database user ${user} lacks ${missing.join(', ')} on ${sqlName(name)}. Run as the table's owner: ${grantStatements(name, user).join('; ')};`,
    { sqlState: '42501' },
  )
}

/** Returns the error for a table in which PostgreSQL hides rows from the database user. */
export function rowSecurityFault(name: TableName): SessionPgsqlError {
  return new SessionPgsqlError(
    'PRIVILEGE_MISSING',
    `Row-level security on ${sqlName(name)} applies to the database user, so that hidden sessions would look destroyed. ` +
      `Run as the table's owner: ALTER TABLE ${sqlName(name)} DISABLE ROW LEVEL SECURITY; or give the user BYPASSRLS.`,
  )
}

/** Returns the error for a change that a trigger dropped. */
export function triggerFault(name: TableName): SessionPgsqlError {
  return new SessionPgsqlError(
    'DATABASE',
    `A trigger on ${sqlName(name)} dropped a change of a session. Remove the trigger; \`session-pgsql doctor\` names it.`,
  )
}

/** Returns the error for a table that could not be created. */
export function creationFault(cause: SessionPgsqlError, { place, user }: Inspection): SessionPgsqlError {
  if (cause.sqlState === '42501') {
    return new SessionPgsqlError(
      'PRIVILEGE_MISSING',
      `The table ${sqlName(place)} does not exist, and the database user ${user} may not create it. Run: ` +
        `GRANT CREATE ON SCHEMA ${quoteIdentifier(place.schema)} TO ${quoteIdentifier(user)}; ` +
        'or create the table as another user, with the statements that `session-pgsql init --print` shows.',
      { cause, sqlState: cause.sqlState },
    )
  }
  if (cause.sqlState === '3F000') {
    return new SessionPgsqlError(
      'TABLE_MISSING',
      `The schema ${quoteIdentifier(place.schema)} does not exist. Create it: CREATE SCHEMA ${quoteIdentifier(place.schema)}.`,
      { cause, sqlState: cause.sqlState },
    )
  }
  return cause
}

/** Returns the error for a table that was changed or dropped after it was opened. */
export function tableFault(cause: SessionPgsqlError, name: TableName): SessionPgsqlError {
  if (cause.sqlState === '42P01' || cause.sqlState === '3F000') return tableGone(name, cause)
  return new SessionPgsqlError(
    'TABLE_UNFIT',
    `The session table ${sqlName(name)} has changed. The next call inspects it again.`,
    { cause, sqlState: cause.sqlState },
  )
}

/**
 * Returns the error for a table that existed when it was opened and does not exist now. It is not created again: an
 * empty table would log everyone out, and take the name that the table needs to be renamed or restored.
 */
export function tableGone(name: TableName, cause?: SessionPgsqlError): SessionPgsqlError {
  return new SessionPgsqlError(
    'TABLE_MISSING',
    `The session table ${sqlName(name)} no longer exists. This process has used it, and does not create it again. ` +
      'Rename or restore it, or create an empty one with `session-pgsql init`; every call looks for it again.',
    { cause, sqlState: cause?.sqlState },
  )
}
