import { plain, type Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import {
  addColumnsStatement,
  companionName,
  createCompanionStatement,
  customIndexStatement,
  grantJournalStatement,
  grantStatements,
  homeIndexStatement,
  type OurColumn,
  quoteIdentifier,
  type Shape,
  sqlName,
  sweepIndexStatement,
} from './definition.ts'
import { countUnswept, type ServerFacts, serverFacts, type TableFacts, tableFacts } from './facts.ts'
import { type FoundTable, type Inspection, missingColumns, missingSeedColumns, shapeOf } from './inspect.ts'
import { type JournalPlace, placeOf, placeText } from './journal.ts'
import { IMPLAUSIBLE } from './sweep.ts'
import type { SessionTable } from './table.ts'

/** `ok`: as it should be; `warning`: it works, but worse than it could; `problem`: something does not work. */
export type Level = 'ok' | 'warning' | 'problem'

/** One thing that was looked at. */
export interface Finding {
  /** What was looked at: stable, for programs. */
  readonly check: string
  readonly level: Level
  /** For people. */
  readonly message: string
  /** SQL or commands that mend it, a line for each; nothing for what is well. */
  readonly remedy: readonly string[]
}

/** What PostgreSQL this is tested with, at the least; as in `server_version_num`. */
const OLDEST_TESTED = 150_000

/** Seconds of difference between the clocks that a person should hear of. */
const CLOCK_NOTICEABLE = 5

/** Statistics of fewer updates than this say nothing. */
const ENOUGH_UPDATES = 1000

/** Seconds after which an expired session should have been swept, at any sensible interval; and how many are counted. */
const LATE = 86_400
const MOST_LATE = 10_000

/**
 * Looks at a server and its session table the way an operator would, and says how to mend what is not well.
 * Changes nothing. Rejects only if the server cannot be asked.
 */
export async function diagnose(table: SessionTable, deadline: number): Promise<Finding[]> {
  const query: Query = (statement, parameters) => table.queryUnopened(statement, parameters, deadline)
  const inspection = await table.inspect(deadline)
  const server = await serverFacts(query)
  const findings = [...aboutServer(inspection, server)]
  const { found } = inspection
  if (found === undefined) return [...findings, missingTable(inspection)]

  findings.push(...aboutStructure(inspection, found))
  const facts = await tableFacts(query, found.name)
  findings.push(...aboutIndexes(found, facts), ...aboutStorage(found, facts, server))
  if (found.missingPrivileges.length === 0 && missingSeedColumns(found).length === 0) {
    findings.push(aboutSweeping(await countUnswept(query, found.name, LATE, MOST_LATE)))
  }
  if (!found.missingPrivileges.includes('USAGE')) {
    const [row] = await query(plain(placeText(found.name)), [found.name.schema])
    findings.push(aboutJournal(placeOf(row), found, inspection.user))
  }
  return findings
}

function* aboutServer(inspection: Inspection, server: ServerFacts): Generator<Finding> {
  const { user, superuser, standby, serverVersion, place } = inspection
  const version = `PostgreSQL ${serverVersion}, as the user ${user}`
  yield server.version >= OLDEST_TESTED
    ? ok('connection', `${version}.`)
    : warning('connection', `${version}. The oldest version this is tested with is 15.`)
  if (standby) {
    yield problem('writable', 'This is a standby; nothing can be written here.', [
      'In db, name all hosts of the group: host=a,b,c target_session_attrs=read-write',
    ])
  } else if (server.readOnly) {
    yield problem('writable', 'Transactions are read-only by default; nothing can be written.', [
      `ALTER ROLE ${quoteIdentifier(user)} SET default_transaction_read_only = off;`,
    ])
  } else {
    yield ok('writable', 'This is a primary, and transactions may write.')
  }
  yield superuser
    ? warning(
        'superuser',
        `${user} is a superuser: who gets hold of the application gets the whole server.`,
        [
          'CREATE ROLE php_session LOGIN;',
          ...grantStatements(inspection.found?.name ?? place, 'php_session').map(statement),
        ],
      )
    : ok('superuser', `${user} is not a superuser.`)
  yield aboutClock(server)
  yield server.encoding === 'UTF8'
    ? ok('encoding', 'The database is in UTF8.')
    : warning(
        'encoding',
        `The database is in ${server.encoding}: data with characters that it lacks is refused. The encoding is chosen when a database is created.`,
        ["CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;"],
      )
  const unsafe = [
    ...(server.fsync ? [] : ['fsync']),
    ...(server.fullPageWrites ? [] : ['full_page_writes']),
    ...(server.synchronousCommit ? [] : ['synchronous_commit']),
  ]
  yield unsafe.length === 0
    ? ok('durability', 'What was acknowledged survives a crash of the server.')
    : warning(
        'durability',
        `${unsafe.join(', ')} ${unsafe.length === 1 ? 'is' : 'are'} off: a crash of the server loses what was acknowledged last${unsafe.includes('synchronous_commit') && unsafe.length === 1 ? '' : ', or the database'}.`,
        [...unsafe.map((setting) => `ALTER SYSTEM SET ${setting} = on;`), 'SELECT pg_reload_conf();'],
      )
}

function aboutClock({ clockAhead, clockDoubt }: ServerFacts): Finding {
  const off = Math.abs(clockAhead)
  if (off <= CLOCK_NOTICEABLE + clockDoubt) {
    return ok('clock', `The database's clock agrees with this machine's within ${CLOCK_NOTICEABLE} s.`)
  }
  const message = `The database's clock is ${Math.round(off)} s ${clockAhead > 0 ? 'ahead of' : 'behind'} this machine's`
  const remedy = ['On both machines: timedatectl status']
  return off > IMPLAUSIBLE
    ? problem('clock', `${message}. No session is swept until they agree within an hour.`, remedy)
    : warning(
        'clock',
        `${message}. Sessions expire by the database's clock, cookies by the browser's.`,
        remedy,
      )
}

function missingTable({ place, user }: Inspection): Finding {
  return problem('table', `The session table ${sqlName(place)} is not there.`, [
    'session-pgsql init',
    `Or as its owner, what this prints: session-pgsql init --print --role ${shellQuote(user)}`,
  ])
}

function* aboutStructure(inspection: Inspection, found: FoundTable): Generator<Finding> {
  const { user } = inspection
  const table = sqlName(found.name)
  const asOwner = found.owned ? '' : ' Only its owner can change it.'
  yield ok(
    'table',
    `${table} is there, and ${found.owned ? `is ${user}'s own` : 'belongs to another user, who alone can change it'}.`,
  )
  yield found.missingPrivileges.length === 0
    ? ok('privileges', `${user} has the privileges that are needed.`)
    : problem(
        'privileges',
        `${user} lacks ${found.missingPrivileges.join(', ')} on ${table}.`,
        grantStatements(found.name, user).map(statement),
      )

  const missing = missingSeedColumns(found)
  let shape: Shape | undefined
  if (missing.length > 0) {
    yield problem('columns', `${table} lacks ${missing.join(', ')}.${asOwner}`, [
      statement(addColumnsStatement(found.name, missing)),
    ])
  } else if (!found.uniqueId) {
    yield problem('columns', `sess_id has no unique index: one id could have several rows.${asOwner}`, [
      `ALTER TABLE ${table} ADD PRIMARY KEY (sess_id);`,
    ])
  } else {
    try {
      // Privileges have had their say.
      shape = shapeOf({ ...inspection, found: { ...found, missingPrivileges: [] } })
      yield ok('columns', 'Every column of session_pgsql is there.')
    } catch (error) {
      if (!(error instanceof SessionPgsqlError)) throw error
      yield problem('columns', error.message)
    }
  }
  const lacking = missingColumns(found)
  yield lacking.length === 0
    ? ok('own-columns', 'Every column beyond those of session_pgsql is there.')
    : warning('own-columns', `${table} lacks ${lacking.join(', ')}. ${consequences(lacking)}${asOwner}`, [
        statement(addColumnsStatement(found.name, lacking)),
      ])
  const narrow = [...(shape?.narrow ?? [])]
  yield narrow.length === 0
    ? ok('integer-dates', 'Dates and counters have 64 bits.')
    : warning(
        'integer-dates',
        `${narrow.length} columns are integer: dates end on 2038-01-19, later ones are stored as that day. Mending it rewrites the table, and nobody can use it meanwhile.${asOwner}`,
        [`ALTER TABLE ${table} ${narrow.map((column) => `ALTER COLUMN ${column} TYPE bigint`).join(', ')};`],
      )
}

function consequences(lacking: readonly OurColumn[]): string {
  const effects = [
    ...(lacking.includes('sess_sweep') ? ['garbage collection goes through the whole table'] : []),
    ...(lacking.includes('sess_generation')
      ? ['an id destroyed and used again within one second is not told from its first life']
      : []),
    ...(lacking.some((column) => ['sess_home', 'sess_base', 'sess_destroyed'].includes(column))
      ? ['the sessions cannot be spread over several servers']
      : []),
  ]
  return `Without them ${effects.join('; ')}.`
}

function* aboutIndexes(found: FoundTable, table: TableFacts): Generator<Finding> {
  yield found.sweepIndex
    ? ok('sweep-index', 'Garbage collection has its index.')
    : warning('sweep-index', 'No index on sess_sweep: garbage collection goes through the whole table.', [
        statement(sweepIndexStatement(found.name, ' CONCURRENTLY')),
      ])
  yield found.customIndex
    ? ok('field-index', 'The custom field has its index.')
    : warning('field-index', 'No index on sess_custom: looking by field goes through the whole table.', [
        statement(customIndexStatement(found.name, ' CONCURRENTLY')),
      ])
  if (!found.homeIndex && found.columns.has('sess_home')) {
    yield warning(
      'home-index',
      'No index on sess_home: with several servers, the whole table is gone through every other second.',
      [statement(homeIndexStatement(found.name, ' CONCURRENTLY'))],
    )
  }
  const broken = table.indexes.filter(({ valid }) => !valid)
  if (broken.length > 0) {
    yield warning(
      'broken-indexes',
      `${namesOf(broken)} was left unfinished: it is written and never read.`,
      broken.map(({ name }) => `DROP INDEX CONCURRENTLY ${name};`),
    )
  }
  const changing = ['sess_expire', 'sess_counter', 'sess_modified']
  const slow = table.indexes.filter(
    ({ blocksHot, columns }) => blocksHot && columns.some((column) => changing.includes(column)),
  )
  yield slow.length === 0
    ? ok('touched-indexes', 'No index holds what changes at every access.')
    : warning(
        'touched-indexes',
        `${namesOf(slow)} holds what changes at every access, so that every touch rewrites all indexes.`,
        slow.map(({ name }) => `DROP INDEX CONCURRENTLY ${name};`),
      )
}

function* aboutStorage(found: FoundTable, table: TableFacts, server: ServerFacts): Generator<Finding> {
  const name = sqlName(found.name)
  if (table.unlogged) {
    yield warning('unlogged', `${name} is UNLOGGED: a crash empties it, and standbys do not have it.`, [
      `ALTER TABLE ${name} SET LOGGED;`,
    ])
  }
  if (table.rowSecurity) {
    yield warning('row-security', 'Row-level security is on: sessions that it hides look destroyed.', [
      `ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY;`,
    ])
  }
  yield table.fillfactor !== undefined && table.fillfactor <= 90
    ? ok('fillfactor', `Pages are filled to ${table.fillfactor} %, which leaves room for updates in place.`)
    : warning('fillfactor', 'Pages are filled to the brim, which leaves no room for updates in place.', [
        `ALTER TABLE ${name} SET (fillfactor = 80);`,
      ])
  yield table.autovacuum && server.autovacuum
    ? ok('autovacuum', 'Autovacuum looks after the table.')
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
    return ok('hot-updates', `Too few updates yet (${updates}) to say how many are made in place.`)
  }
  const share = Math.round((hotUpdates / updates) * 100)
  const message = `${share} % of ${updates.toLocaleString('en')} updates were made in place (HOT)`
  return share >= 50
    ? ok('hot-updates', `${message}.`)
    : warning(
        'hot-updates',
        `${message}; most should be. See fillfactor and touched-indexes, and look for long transactions.`,
        [
          "SELECT pid, xact_start, state FROM pg_stat_activity WHERE xact_start < now() - interval '5 minutes';",
        ],
      )
}

function aboutDeadRows(name: string, { liveRows, deadRows }: TableFacts): Finding {
  const message = `${deadRows.toLocaleString('en')} dead rows beside ${liveRows.toLocaleString('en')} live ones`
  return deadRows < 10_000 || deadRows < liveRows / 5
    ? ok('dead-rows', `${message}.`)
    : warning('dead-rows', `${message}: autovacuum does not keep up.`, [`VACUUM (ANALYZE) ${name};`])
}

function aboutSweeping(late: number | undefined): Finding {
  if (late === undefined) {
    return warning('sweeping', 'Whether expired sessions are swept was not found out in time.')
  }
  return late === 0
    ? ok('sweeping', 'Nothing is left that expired more than a day ago.')
    : warning(
        'sweeping',
        `${late === MOST_LATE ? 'At least ' : ''}${late.toLocaleString('en')} sessions expired more than a day ago and were not swept.`,
        ['session-pgsql gc', 'Then call it from cron, or set gcInterval above 0.'],
      )
}

function aboutJournal(
  { there, fits, writable, creatable }: JournalPlace,
  { name }: FoundTable,
  user: string,
): Finding {
  const journal = sqlName(companionName(name, 'event'))
  const blind = 'the console sees no failovers and no garbage collections of other processes'
  const grant = statement(grantJournalStatement(name, user))
  if (!there) {
    return creatable
      ? ok('journal', 'There is no journal yet; it is created when there is something to note.')
      : warning('journal', `There is no journal, and ${user} may not create it: ${blind}.`, [
          statement(createCompanionStatement(name, 'event').replaceAll(/\s+/g, ' ')),
          grant,
        ])
  }
  if (!fits) return warning('journal', `${journal} is not the journal, but has its name: ${blind}.`)
  return writable
    ? ok('journal', `What happens to the servers is noted in ${journal}.`)
    : warning('journal', `${user} may not write ${journal}: ${blind}.`, [grant])
}

function namesOf(indexes: readonly { readonly name: string }[]): string {
  return `The index ${indexes.map(({ name }) => name).join(', ')}`
}

function statement(sql: string): string {
  return `${sql};`
}

function shellQuote(word: string): string {
  return /^[\w.-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

function ok(check: string, message: string): Finding {
  return { check, level: 'ok', message, remedy: [] }
}

function warning(check: string, message: string, remedy: readonly string[] = []): Finding {
  return { check, level: 'warning', message, remedy }
}

function problem(check: string, message: string, remedy: readonly string[] = []): Finding {
  return { check, level: 'problem', message, remedy }
}
