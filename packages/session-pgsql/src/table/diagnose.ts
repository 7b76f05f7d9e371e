import { plain, type Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Columns } from '../session/columns.ts'
import { columnsSpec, FILLED } from './computed-columns.ts'
import {
  type AddedColumn,
  addColumnsStatement,
  companionName,
  createCompanionStatement,
  customIndexStatement,
  grantJournalStatement,
  grantStatements,
  homeIndexStatement,
  quoteIdentifier,
  type Shape,
  sqlName,
  sweepIndexStatement,
} from './definition.ts'
import { countUnswept, type ServerFacts, serverFacts, type TableFacts, tableFacts } from './facts.ts'
import { type Finding, ok, problem, statement, warning } from './finding.ts'
import {
  type FoundTable,
  type Inspection,
  missingAddedColumns,
  missingExtensionColumns,
  shapeOf,
} from './inspect.ts'
import { type JournalState, journalStateOf, journalStateText } from './journal.ts'
import { IMPLAUSIBLE } from './sweep.ts'
import type { SessionTable } from './table.ts'
import { aboutTrust } from './trust.ts'

/** The oldest version of PostgreSQL in the tests, as in `server_version_num`. */
const OLDEST_TESTED = 150_000

/** Difference between the clocks that is reported, in seconds. */
const CLOCK_NOTICEABLE = 5

/** Minimum number of updates for a statement about HOT updates. */
const ENOUGH_UPDATES = 1000

/** Seconds after its expiry at which garbage collection should have removed a session. */
const LATE = 86_400

/** Maximum number of late sessions that are counted. */
const MAX_LATE = 10_000

/**
 * Checks a server and its session table for problems, and returns a finding with a remedy for each check. Changes
 * nothing. Rejects only if the server cannot be queried.
 */
export async function diagnose(table: SessionTable, deadline: number): Promise<Finding[]> {
  const query: Query = (statement, parameters) => table.queryUnopened(statement, parameters, deadline)
  const inspection = await table.inspect(deadline)
  const server = await serverFacts(query)
  const findings = [...aboutServer(inspection, server)]
  const { found } = inspection
  if (found === undefined) return [...findings, missingTable(inspection)]

  findings.push(...aboutStructure(inspection, found), ...aboutComputedColumns(table.columns, found))
  const facts = await tableFacts(query, found.name)
  findings.push(...aboutIndexes(found, facts), ...aboutStorage(found, facts, server))
  findings.push(...(await aboutTrust(query, inspection, found)))
  if (found.missingPrivileges.length === 0 && missingExtensionColumns(found).length === 0) {
    findings.push(aboutSweeping(await countUnswept(query, found.name, LATE, MAX_LATE)))
  }
  if (!found.missingPrivileges.includes('USAGE')) {
    const [row] = await query(plain(journalStateText(found.name)), [found.name.schema])
    findings.push(aboutJournal(journalStateOf(row), found, inspection.user))
  }
  return findings
}

function* aboutServer(inspection: Inspection, server: ServerFacts): Generator<Finding> {
  const { user, superuser, standby, serverVersion, place } = inspection
  const version = `PostgreSQL ${serverVersion}, database user ${user}`
  yield server.version >= OLDEST_TESTED
    ? ok('connection', `${version}.`)
    : warning('connection', `${version}. Versions below 15 are not tested.`)
  if (standby) {
    yield problem('writable', 'The server is a standby and rejects writes.', [
      'In the option db, name all hosts of the group: host=a,b,c target_session_attrs=read-write',
    ])
  } else if (server.readOnly) {
    yield problem('writable', 'Transactions are read-only by default, so that the server rejects writes.', [
      `ALTER ROLE ${quoteIdentifier(user)} SET default_transaction_read_only = off;`,
    ])
  } else {
    yield ok('writable', 'The server is a primary and accepts writes.')
  }
  yield superuser
    ? warning(
        'superuser',
        `${user} is a superuser: an attacker who takes over the application gets the whole database server.`,
        [
          'CREATE ROLE php_session LOGIN;',
          ...grantStatements(inspection.found?.name ?? place, 'php_session').map(statement),
        ],
      )
    : ok('superuser', `${user} is not a superuser.`)
  yield aboutClock(server)
  yield server.encoding === 'UTF8'
    ? ok('encoding', 'The encoding of the database is UTF8.')
    : warning(
        'encoding',
        `The encoding of the database is ${server.encoding}: sessions with other characters are rejected. The encoding is set when a database is created.`,
        ["CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;"],
      )
  const unsafe = [
    ...(server.fsync ? [] : ['fsync']),
    ...(server.fullPageWrites ? [] : ['full_page_writes']),
    ...(server.synchronousCommit ? [] : ['synchronous_commit']),
  ]
  yield unsafe.length === 0
    ? ok('durability', 'Acknowledged writes survive a crash of the server.')
    : warning(
        'durability',
        `${unsafe.join(', ')} ${unsafe.length === 1 ? 'is' : 'are'} off: a crash of the server loses the last acknowledged writes${unsafe.includes('synchronous_commit') && unsafe.length === 1 ? '' : ', or corrupts the database'}.`,
        [...unsafe.map((setting) => `ALTER SYSTEM SET ${setting} = on;`), 'SELECT pg_reload_conf();'],
      )
}

function aboutClock({ clockAhead, clockDoubt }: ServerFacts): Finding {
  const off = Math.abs(clockAhead)
  if (off <= CLOCK_NOTICEABLE + clockDoubt) {
    return ok(
      'clock',
      `The clocks of the database and of this machine differ by at most ${CLOCK_NOTICEABLE} s.`,
    )
  }
  const message = `The database's clock is ${Math.round(off)} s ${clockAhead > 0 ? 'ahead of' : 'behind'} this machine's`
  const remedy = ['On both machines: timedatectl status']
  return off > IMPLAUSIBLE + clockDoubt
    ? problem(
        'clock',
        `${message}. Garbage collection is suspended until they agree within a minute.`,
        remedy,
      )
    : warning(
        'clock',
        `${message}. Sessions expire by the database's clock, cookies by the browser's.`,
        remedy,
      )
}

function missingTable({ place, user }: Inspection): Finding {
  return problem('table', `The session table ${sqlName(place)} does not exist.`, [
    'session-pgsql init',
    `Or run the statements that this command prints: session-pgsql init --print --role ${shellQuote(user)}`,
  ])
}

function* aboutStructure(inspection: Inspection, found: FoundTable): Generator<Finding> {
  const { user } = inspection
  const table = sqlName(found.name)
  const asOwner = found.owned ? '' : ' Only the owner of the table can change it.'
  yield ok('table', `${table} exists.`)
  yield found.missingPrivileges.length === 0
    ? ok('privileges', `${user} has the required privileges.`)
    : problem(
        'privileges',
        `${user} lacks ${found.missingPrivileges.join(', ')} on ${table}.`,
        grantStatements(found.name, user).map(statement),
      )

  const missing = missingExtensionColumns(found)
  let shape: Shape | undefined
  if (missing.length > 0) {
    yield problem('columns', `${table} lacks ${missing.join(', ')}.${asOwner}`, [
      statement(addColumnsStatement(found.name, missing)),
    ])
  } else if (!found.uniqueId) {
    yield problem(
      'columns',
      `sess_id has no unique index, so that an id could have several rows.${asOwner}`,
      [`ALTER TABLE ${table} ADD PRIMARY KEY (sess_id);`],
    )
  } else {
    try {
      // Missing privileges and row-level security are findings of their own.
      shape = shapeOf(
        { ...inspection, found: { ...found, missingPrivileges: [], rowSecurity: false } },
        Infinity,
      )
      yield ok('columns', 'The table has every column of session_pgsql.')
    } catch (error) {
      if (!(error instanceof SessionPgsqlError)) throw error
      yield problem('columns', error.message)
    }
  }
  const lacking = missingAddedColumns(found)
  yield lacking.length === 0
    ? ok('own-columns', 'The table has every optional column.')
    : warning('own-columns', `${table} lacks ${lacking.join(', ')}. ${consequences(lacking)}${asOwner}`, [
        statement(addColumnsStatement(found.name, lacking)),
      ])
  const narrow = [...(shape?.narrow ?? [])]
  yield narrow.length === 0
    ? ok('integer-dates', 'Dates and counters have 64 bits.')
    : warning(
        'integer-dates',
        `${narrow.length} columns are integer: dates after 2038-01-19 are stored as that day. The remedy rewrites the table and locks it meanwhile.${asOwner}`,
        [`ALTER TABLE ${table} ${narrow.map((column) => `ALTER COLUMN ${column} TYPE bigint`).join(', ')};`],
      )
}

/** About the option `columns`, if it is set. */
function* aboutComputedColumns({ all }: Columns, found: FoundTable): Generator<Finding> {
  if (all.length === 0) return
  const lacking = [...all.map(({ name }) => name), FILLED].filter((name) => !found.columns.has(name))
  const unindexed = all.filter(({ name, index }) => index && !found.indexed.has(name)).map(({ name }) => name)
  const remedy = [`session-pgsql init --columns ${columnsSpec(all)}`]
  const table = sqlName(found.name)
  if (lacking.length > 0) {
    yield warning(
      'columns-option',
      `${table} lacks ${lacking.join(', ')} of the option columns: they are not filled, and filters by them fail.`,
      remedy,
    )
  } else if (unindexed.length > 0) {
    yield warning(
      'columns-option',
      `There is no index on ${unindexed.join(', ')}: filters by these columns scan the whole table.`,
      remedy,
    )
  } else {
    yield ok('columns-option', 'The table has the columns of the option columns, and their indexes.')
  }
}

function consequences(lacking: readonly AddedColumn[]): string {
  const effects = [
    ...(lacking.includes('sess_sweep') ? ['garbage collection scans the whole table'] : []),
    ...(lacking.includes('sess_generation')
      ? ['an id that is destroyed and used again within one second looks like the same session']
      : []),
    ...(lacking.some((column) => ['sess_home', 'sess_base', 'sess_destroyed'].includes(column))
      ? ['sessions cannot be sharded over several servers']
      : []),
    ...(lacking.includes('sess_version') ? ['only a digest detects that a session was written'] : []),
    ...(lacking.includes('sess_began') ? ['maxLifetime starts again when a session changes its id'] : []),
  ]
  return `Without them ${effects.join('; ')}.`
}

function* aboutIndexes(found: FoundTable, table: TableFacts): Generator<Finding> {
  yield found.sweepIndex
    ? ok('sweep-index', 'Garbage collection uses an index on sess_sweep.')
    : warning('sweep-index', 'There is no index on sess_sweep: garbage collection scans the whole table.', [
        statement(sweepIndexStatement(found.name, ' CONCURRENTLY')),
      ])
  yield found.customIndex
    ? ok('field-index', 'Queries by custom field use an index on sess_custom.')
    : warning(
        'field-index',
        'There is no index on sess_custom: queries by custom field scan the whole table.',
        [statement(customIndexStatement(found.name, ' CONCURRENTLY'))],
      )
  if (!found.homeIndex && found.columns.has('sess_home')) {
    yield warning(
      'home-index',
      'There is no index on sess_home: with several servers, every process scans the whole table every two seconds.',
      [statement(homeIndexStatement(found.name, ' CONCURRENTLY'))],
    )
  }
  const broken = table.indexes.filter(({ valid }) => !valid)
  if (broken.length > 0) {
    yield warning(
      'broken-indexes',
      `${namesOf(broken)} is invalid: PostgreSQL updates it but does not use it.`,
      broken.map(({ name }) => `DROP INDEX CONCURRENTLY ${name};`),
    )
  }
  const changing = ['sess_expire', 'sess_counter', 'sess_modified']
  const slow = table.indexes.filter(
    ({ blocksHot, columns }) => blocksHot && columns.some((column) => changing.includes(column)),
  )
  yield slow.length === 0
    ? ok('touched-indexes', 'No index contains a column that changes at every access.')
    : warning(
        'touched-indexes',
        `${namesOf(slow)} contains a column that changes at every access, so that every touch writes to all indexes.`,
        slow.map(({ name }) => `DROP INDEX CONCURRENTLY ${name};`),
      )
}

function* aboutStorage(found: FoundTable, table: TableFacts, server: ServerFacts): Generator<Finding> {
  const name = sqlName(found.name)
  if (table.unlogged) {
    yield warning('unlogged', `${name} is UNLOGGED: a crash empties it, and standbys do not have its rows.`, [
      `ALTER TABLE ${name} SET LOGGED;`,
    ])
  }
  yield table.fillfactor !== undefined && table.fillfactor <= 90
    ? ok('fillfactor', `The fillfactor is ${table.fillfactor} %, which leaves room for HOT updates.`)
    : warning('fillfactor', 'The fillfactor is above 90 %, which leaves no room for HOT updates.', [
        `ALTER TABLE ${name} SET (fillfactor = 80);`,
      ])
  yield table.autovacuum && server.autovacuum
    ? ok('autovacuum', 'Autovacuum is on.')
    : warning('autovacuum', 'Autovacuum is off: the table grows with every update.', [
        server.autovacuum
          ? `ALTER TABLE ${name} RESET (autovacuum_enabled);`
          : 'ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();',
      ])
  yield aboutHot(table)
  yield aboutDeadRows(name, table)
}

function aboutHot({ updates, hotUpdates }: TableFacts): Finding {
  if (updates < ENOUGH_UPDATES) {
    return ok('hot-updates', `There were too few updates (${updates}) to judge the share of HOT updates.`)
  }
  const share = Math.round((hotUpdates / updates) * 100)
  const message = `${share} % of ${updates.toLocaleString('en')} updates were HOT updates`
  return share >= 50
    ? ok('hot-updates', `${message}.`)
    : warning(
        'hot-updates',
        `${message}; expected at least 50 %. Check fillfactor and touched-indexes, and look for long transactions.`,
        [
          "SELECT pid, xact_start, state FROM pg_stat_activity WHERE xact_start < now() - interval '5 minutes';",
        ],
      )
}

function aboutDeadRows(name: string, { liveRows, deadRows }: TableFacts): Finding {
  const message = `${deadRows.toLocaleString('en')} dead rows, ${liveRows.toLocaleString('en')} live rows`
  return deadRows < 10_000 || deadRows < liveRows / 5
    ? ok('dead-rows', `${message}.`)
    : warning('dead-rows', `${message}: autovacuum does not keep up.`, [`VACUUM (ANALYZE) ${name};`])
}

function aboutSweeping(late: number | undefined): Finding {
  if (late === undefined) {
    return warning('sweeping', 'Expired sessions could not be counted in time.')
  }
  return late === 0
    ? ok('sweeping', 'No session is left that expired more than a day ago.')
    : warning(
        'sweeping',
        `${late === MAX_LATE ? 'At least ' : ''}${late.toLocaleString('en')} sessions expired more than a day ago and were not removed.`,
        ['session-pgsql gc', 'Then run it from cron, or set gcInterval above 0.'],
      )
}

function aboutJournal(
  { exists, fits, writable, creatable }: JournalState,
  { name }: FoundTable,
  user: string,
): Finding {
  const journal = sqlName(companionName(name, 'event'))
  const blind = 'the console cannot show failovers and garbage collections of other processes'
  const grant = statement(grantJournalStatement(name, user))
  if (!exists) {
    return creatable
      ? ok('journal', 'There is no journal yet. It is created with the first event.')
      : warning('journal', `There is no journal, and ${user} may not create it: ${blind}.`, [
          statement(createCompanionStatement(name, 'event').replaceAll(/\s+/g, ' ')),
          grant,
        ])
  }
  if (!fits) return warning('journal', `${journal} has the name of the journal but other columns: ${blind}.`)
  return writable
    ? ok('journal', `Events are recorded in ${journal}.`)
    : warning('journal', `${user} may not write to ${journal}: ${blind}.`, [grant])
}

function namesOf(indexes: readonly { readonly name: string }[]): string {
  return `The index ${indexes.map(({ name }) => name).join(', ')}`
}

function shellQuote(word: string): string {
  return /^[\w.-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
