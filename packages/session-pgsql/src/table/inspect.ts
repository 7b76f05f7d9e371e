import { plain, type Query, type Statement } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import {
  addColumnsStatement,
  createStatements,
  grantStatements,
  homeIndexStatement,
  OUR_COLUMN_NAMES,
  type OurColumn,
  quoteIdentifier,
  SEED_COLUMN_NAMES,
  type SeedColumn,
  type Shape,
  sqlName,
  sweepIndexStatement,
  type TableName,
} from './definition.ts'
import { CLOCK } from './statements.ts'

/** The name as it was set: without a schema the first table of that name in the search path is meant. */
export interface WantedTable {
  readonly schema: string | undefined
  readonly table: string
}

/** What a look at the server and its table has found. */
export interface Inspection {
  readonly clock: number
  readonly user: string
  readonly superuser: boolean
  readonly standby: boolean
  readonly serverVersion: string
  /** undefined: there is no such table. */
  readonly found: FoundTable | undefined
  /** Where a new table would be. */
  readonly place: TableName
}

export interface FoundTable {
  readonly name: TableName
  readonly kind: string
  readonly owned: boolean
  readonly rows: number
  readonly columns: ReadonlyMap<string, string>
  readonly uniqueId: boolean
  readonly sweepIndex: boolean
  readonly customIndex: boolean
  readonly homeIndex: boolean
  readonly missingPrivileges: readonly string[]
}

const SERVER = plain(`
  SELECT ${CLOCK}, current_user, coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false),
    pg_is_in_recovery(), current_setting('server_version'), current_schema()`)

// Not to_regclass: it throws where the schema may not be used.
const TABLE = plain(`
  SELECT c.oid, n.nspname, c.relname, c.relkind, pg_has_role(c.relowner, 'USAGE'), c.reltuples::bigint,
    has_schema_privilege(n.oid, 'USAGE'),
    has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
    has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relname = $1 AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2 END`)

const COLUMNS = plain(`
  SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
  WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped`)

const INDEXES = plain(`
  SELECT a.attname, i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL, m.amname
  FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
  WHERE i.indrelid = $1::oid AND i.indisvalid`)

/** Looks, and changes nothing. */
export async function inspect(query: Query, wanted: WantedTable): Promise<Inspection> {
  const [server] = await query(SERVER, [])
  const [clock, user, superuser, standby, serverVersion, currentSchema] = server as string[]
  const [row] = await query(TABLE, [wanted.table, wanted.schema ?? null])
  const inspection = {
    clock: Number(clock),
    user: user as string,
    superuser: isTrue(superuser),
    standby: isTrue(standby),
    serverVersion: serverVersion as string,
    place: { schema: wanted.schema ?? currentSchema ?? 'public', table: wanted.table },
  }
  if (row === undefined) return { ...inspection, found: undefined }

  const oid = row[0] as string
  const columns = new Map((await query(COLUMNS, [oid])) as [string, string][])
  const indexes = await query(INDEXES, [oid])
  const privileges = ['SELECT', 'INSERT', 'UPDATE', 'DELETE']
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
      missingPrivileges: [
        ...(isTrue(row[6]) ? [] : ['USAGE']),
        ...privileges.filter((_, index) => !isTrue(row[7 + index])),
      ],
    },
  }
}

/** A boolean as PostgreSQL prints it: `t`, or `true` where it was cast. */
function isTrue(text: string | null | undefined): boolean {
  return text === 't' || text === 'true'
}

/** One creator at a time. $1 the table's name. */
export const lockOutCreators: Statement = plain(
  "SELECT pg_advisory_xact_lock(hashtext('session_pgsql'), hashtext($1))",
)

/** Creates what is missing, under a lock that lets one process at a time do so; then looks again. */
export async function createTable(query: Query, wanted: WantedTable): Promise<Inspection> {
  await query(lockOutCreators, [wanted.table])
  const before = await inspect(query, wanted)
  if (before.found === undefined) {
    for (const text of createStatements(before.place)) await query(plain(text), [])
  } else {
    await query(plain("SELECT set_config('lock_timeout', '2000', true)"), [])
    const missing = missingColumns(before.found)
    if (missing.length > 0) await query(plain(addColumnsStatement(before.found.name, missing)), [])
    for (const text of missingIndexes(before.found)) await query(plain(text), [])
  }
  return inspect(query, wanted)
}

export function missingColumns(found: FoundTable): OurColumn[] {
  return OUR_COLUMN_NAMES.filter((column) => !found.columns.has(column))
}

/** On a big table it would hold up every writer to create them; there `doctor` names the command. */
function missingIndexes({ name, rows, sweepIndex, homeIndex }: FoundTable): string[] {
  if (rows >= 100_000) return []
  return [
    ...(sweepIndex ? [] : [sweepIndexStatement(name)]),
    ...(homeIndex ? [] : [homeIndexStatement(name)]),
  ]
}

export function missingSeedColumns(found: FoundTable): SeedColumn[] {
  return SEED_COLUMN_NAMES.filter((column) => !found.columns.has(column))
}

/** Whether `createTable` would have anything to do. */
export function wantsCreation(inspection: Inspection): boolean {
  const { found } = inspection
  if (inspection.standby) return false
  if (found === undefined) return true
  return found.owned && (missingColumns(found).length > 0 || missingIndexes(found).length > 0)
}

/** What the table offers; an error that says how to mend it if that is too little. */
export function shapeOf(inspection: Inspection): Shape {
  const { found, place, user } = inspection
  if (found === undefined) {
    throw new SessionPgsqlError(
      'TABLE_MISSING',
      `The session table ${sqlName(place)} is not there. Create it with \`session-pgsql init\`, or by your own ` +
        'migration with the statements that `session-pgsql init --print` shows, or leave it to the save handler (createTable).',
    )
  }
  const table = sqlName(found.name)
  if (found.missingPrivileges.length > 0) throw missingPrivilege(found.name, user, found.missingPrivileges)
  if (found.kind !== 'r' && found.kind !== 'p') {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `Expected ${table} to be a table; it is something else, such as a view.`,
    )
  }
  const missing = missingSeedColumns(found)
  if (missing.length > 0) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `The table ${table} lacks ${missing.join(', ')}. Add what \`session-pgsql init --print\` shows, or name another table (option \`table\`).`,
    )
  }
  if (!found.uniqueId) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `The column sess_id of ${table} has no unique index: ALTER TABLE ${table} ADD PRIMARY KEY (sess_id).`,
    )
  }
  return {
    name: found.name,
    ours: new Set(OUR_COLUMN_NAMES.filter((column) => found.columns.get(column) === OUR_TYPES[column])),
    narrow: narrowColumns(found),
    sweepIndex: found.sweepIndex,
  }
}

const OUR_TYPES: Record<OurColumn, string> = {
  sess_sweep: 'bigint',
  sess_generation: 'bigint',
  sess_home: 'text',
  sess_base: 'text',
  sess_destroyed: 'bigint',
}

const TEXTS = ['text', 'character varying']

function narrowColumns(found: FoundTable): ReadonlySet<SeedColumn> {
  const narrow = new Set<SeedColumn>()
  for (const column of SEED_COLUMN_NAMES) {
    const type = found.columns.get(column) as string
    const isText = /_(id|name|data|addr_created|addr_modified|err_message|custom)$/.test(column)
    if (isText ? !TEXTS.includes(type) : type !== 'bigint' && type !== 'integer') {
      throw new SessionPgsqlError(
        'TABLE_UNFIT',
        `Expected the column ${column} of ${sqlName(found.name)} to be ${isText ? 'text' : 'bigint or integer'}; it is ${type}.`,
      )
    }
    if (type === 'integer') narrow.add(column)
  }
  return narrow
}

export function missingPrivilege(
  name: TableName,
  user: string,
  missing: readonly string[],
): SessionPgsqlError {
  return new SessionPgsqlError(
    'PRIVILEGE_MISSING',
    `The database user ${user} lacks ${missing.join(', ')} on ${sqlName(name)}. As its owner: ${grantStatements(name, user).join('; ')};`,
    { sqlState: '42501' },
  )
}

/** The table could not be created. */
export function creationFault(cause: SessionPgsqlError, { place, user }: Inspection): SessionPgsqlError {
  if (cause.sqlState === '42501') {
    return new SessionPgsqlError(
      'PRIVILEGE_MISSING',
      `The table ${sqlName(place)} is not there, and the database user ${user} may not create it: ` +
        `GRANT CREATE ON SCHEMA ${quoteIdentifier(place.schema)} TO ${quoteIdentifier(user)}; ` +
        'or create it as its owner with what `session-pgsql init --print` shows.',
      { cause, sqlState: cause.sqlState },
    )
  }
  if (cause.sqlState === '3F000') {
    return new SessionPgsqlError(
      'TABLE_MISSING',
      `The schema ${quoteIdentifier(place.schema)} is not there: CREATE SCHEMA ${quoteIdentifier(place.schema)}.`,
      { cause, sqlState: cause.sqlState },
    )
  }
  return cause
}

/** The table is no longer what it was when it was opened. */
export function tableFault(cause: SessionPgsqlError, shape: Shape): SessionPgsqlError {
  const missing = cause.sqlState === '42P01' || cause.sqlState === '3F000'
  return new SessionPgsqlError(
    missing ? 'TABLE_MISSING' : 'TABLE_UNFIT',
    missing
      ? `The session table ${sqlName(shape.name)} is not there any more; the next use looks for it, and creates it where it may.`
      : `The session table ${sqlName(shape.name)} has changed; the next use looks at it anew.`,
    { cause, sqlState: cause.sqlState },
  )
}
