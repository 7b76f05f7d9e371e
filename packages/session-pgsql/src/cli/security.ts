import { SEALED_PREFIX } from '../codec/sealed.ts'
import type { Host } from '../conninfo/conninfo.ts'
import { plain, type Query } from '../database/database.ts'
import { HASHED_ID_PREFIX } from '../session/stored-id.ts'
import type { DatabaseEntry, Settings } from '../settings/settings.ts'
import { isTrue } from '../table/answers.ts'
import { quoteIdentifier, sqlName } from '../table/definition.ts'
import { type Finding, ok, warning } from '../table/finding.ts'
import type { FoundTable, Inspection } from '../table/inspect.ts'
import { ne } from '../table/sql.ts'

/** Checks for a security review: settings, stored rows and PostgreSQL's log. `diagnose` checks roles and privileges. */

/** The checks of `diagnose` that belong to a security review. */
const REVIEWED: ReadonlySet<string> = new Set([
  'connection',
  'superuser',
  'owner',
  'triggers',
  'grants',
  'schema-creators',
])

/** Returns the findings of `diagnose` that a security review asks for, and all problems: they prevent other checks. */
export function reviewed(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ check, level }) => level === 'problem' || REVIEWED.has(check))
}

/** Checks the settings. Needs no connection. */
export function aboutSettings(settings: Settings, entry: DatabaseEntry): Finding[] {
  return [aboutIds(settings), aboutEncryption(settings), aboutMaxLifetime(settings), aboutTls(entry)]
}

function aboutIds({ ids }: Settings): Finding {
  if (ids === 'hashed') return ok('ids', 'Session ids are stored as hashes.')
  const message =
    ids === 'plain'
      ? 'Session ids are stored in plain text: a reader of the table, of a backup or of the log can take over every session.'
      : "Plain session ids are still accepted (ids: 'migrate'), and the table may contain some."
  return warning('ids', message, [
    ...(ids === 'plain'
      ? ["Set ids to 'migrate' in every process, or to 'hashed' if the table is new."]
      : []),
    'session-pgsql hash-ids',
    "Set ids to 'hashed' in every process.",
  ])
}

function aboutEncryption({ encryption }: Settings): Finding {
  if (encryption === undefined) {
    return warning(
      'encryption',
      'Session data is stored in plain text: a reader of the table, of a backup or of the log sees it.',
      ['Set encryption in every process, in the order of docs/encryption.md.', 'session-pgsql encrypt'],
    )
  }
  if (!encryption.write) {
    return warning('encryption', 'This configuration has keys, but stores plain text (write: false).', [
      'Set write to true in every process.',
      'session-pgsql encrypt',
    ])
  }
  return encryption.acceptPlain
    ? warning(
        'encryption',
        'Data is stored encrypted, but plain text is accepted: a role that can write the table can forge sessions.',
        ['session-pgsql encrypt', 'Set acceptPlain to false in every process.'],
      )
    : ok('encryption', 'Session data is stored encrypted, and nothing else is accepted.')
}

function aboutMaxLifetime({ maxLifetime }: Settings): Finding {
  return maxLifetime === Number.POSITIVE_INFINITY
    ? warning('max-lifetime', 'A session that is used never ends: there is no maxLifetime.', [
        'Set maxLifetime in every process, for example to 43200 (12 hours).',
      ])
    : ok('max-lifetime', `A session ends ${maxLifetime} seconds after it began at the latest.`)
}

function aboutTls(entry: DatabaseEntry): Finding {
  if (entry.kind !== 'conninfo') return ok('tls', 'The database runs in the process of the application.')
  const { hosts, tls } = entry.conninfo
  const remote = hosts.filter((host) => !isThisMachine(host)).map(({ host }) => host)
  if (remote.length === 0) return ok('tls', 'The connection does not leave this machine.')
  return tls.mode === 'verify-full'
    ? ok('tls', `The certificate of ${remote.join(', ')} is verified (sslmode=verify-full).`)
    : warning(
        'tls',
        `The connection to ${remote.join(', ')} has sslmode=${tls.mode}: a machine in between can pass itself off as the database.`,
        ['In db, set sslmode=verify-full, and sslrootcert to the file of the authority, or to system.'],
      )
}

function isThisMachine({ host, address }: Host): boolean {
  return host.startsWith('/') || /^(?:localhost|127(?:\.\d+){3}|::1)$/i.test(address ?? host)
}

/** The most rows of which the stored form is checked. */
const SAMPLE = 10_000

/** Checks that rows are stored as the settings say: changing a setting does not change rows that exist. */
export async function aboutStoredRows(
  query: Query,
  { name, columns }: FoundTable,
  { ids, encryption }: Settings,
): Promise<Finding[]> {
  const isPlain = (column: string, prefix: string): string =>
    `pg_catalog.bool_or(${ne(column, "''")} AND NOT pg_catalog.starts_with(${column}, '${prefix}'))`
  // A tombstone, or a note of failback, is no session.
  const isSession = columns.has('sess_destroyed') ? ' WHERE sess_destroyed IS NULL' : ''
  const [row] = await query(
    plain(`
    SELECT ${isPlain('t.sess_id', HASHED_ID_PREFIX)}, ${isPlain('t.sess_data', SEALED_PREFIX)}
    FROM (SELECT sess_id, sess_data FROM ${sqlName(name)}${isSession} LIMIT ${SAMPLE}) AS t`),
    [],
  )
  const [plainIds, plainData] = [isTrue(row?.[0]), isTrue(row?.[1])]
  return [
    ...(ids === 'hashed' && plainIds
      ? [
          warning('stored-ids', `${sqlName(name)} still contains plain session ids.`, [
            'session-pgsql hash-ids',
          ]),
        ]
      : []),
    ...(encryption !== undefined && plainData
      ? [
          warning('stored-data', `${sqlName(name)} still contains data in plain text.`, [
            'session-pgsql encrypt',
          ]),
        ]
      : []),
  ]
}

/**
 * The settings by which PostgreSQL or an extension logs statements with their parameters. Ids and data are parameters of
 * every statement of the library, so a log without parameters contains none.
 */
const LOGGING = [
  'log_statement',
  'log_min_duration_statement',
  'log_min_duration_sample',
  'log_statement_sample_rate',
  'log_transaction_sample_rate',
  'log_parameter_max_length',
  'log_parameter_max_length_on_error',
  'auto_explain.log_min_duration',
  'auto_explain.log_parameter_max_length',
  'pgaudit.log',
  'pgaudit.log_parameter',
] as const

const LOGGING_SETTINGS = plain(
  `SELECT ${LOGGING.map((setting) => `pg_catalog.current_setting('${setting}', true)`).join(', ')}`,
)

/** Checks what PostgreSQL logs of the statements of this database user. */
export async function aboutLogging(
  query: Query,
  { user }: Inspection,
  { ids, encryption }: Settings,
): Promise<Finding> {
  const [row = []] = await query(LOGGING_SETTINGS, [])
  const values = new Map(LOGGING.map((setting, index) => [setting, row[index] ?? undefined]))
  const open = [...openLogging((setting) => values.get(setting))]
  if (open.length === 0) {
    return ok(
      'statement-log',
      'The log contains no parameters of statements; pg_stat_statements stores none.',
    )
  }
  const causes = open.map(({ cause }) => `${cause} = ${values.get(cause)}`).join(', ')
  if (ids === 'hashed' && encryption?.write) {
    return ok('statement-log', `The log shows parameters (${causes}), which are hashes and encrypted data.`)
  }
  return warning(
    'statement-log',
    `The log shows the parameters of statements (${causes}), which are session ids and session data. Run the SQL as a superuser; it applies to new connections.`,
    [...new Set(open.map(({ off }) => off))].map(
      (assignment) => `ALTER ROLE ${quoteIdentifier(user)} SET ${assignment};`,
    ),
  )
}

type LoggingSetting = (typeof LOGGING)[number]

/** Yields each setting that makes parameters appear in the log, and the assignment that removes them. */
function* openLogging(
  value: (setting: LoggingSetting) => string | undefined,
): Generator<{ readonly cause: LoggingSetting; readonly off: string }> {
  const isOn = (setting: LoggingSetting, ...off: readonly string[]): boolean => {
    const given = value(setting)
    return given !== undefined && given !== '' && !off.includes(given)
  }
  if (isOn('log_parameter_max_length', '0')) {
    const off = 'log_parameter_max_length = 0'
    if (isOn('log_statement', 'none', 'ddl')) yield { cause: 'log_statement', off }
    if (isOn('log_min_duration_statement', '-1')) yield { cause: 'log_min_duration_statement', off }
    if (isOn('log_min_duration_sample', '-1') && isOn('log_statement_sample_rate', '0')) {
      yield { cause: 'log_min_duration_sample', off }
    }
    if (isOn('log_transaction_sample_rate', '0')) yield { cause: 'log_transaction_sample_rate', off }
  }
  if (isOn('log_parameter_max_length_on_error', '0')) {
    yield { cause: 'log_parameter_max_length_on_error', off: 'log_parameter_max_length_on_error = 0' }
  }
  if (isOn('auto_explain.log_min_duration', '-1') && isOn('auto_explain.log_parameter_max_length', '0')) {
    yield { cause: 'auto_explain.log_min_duration', off: 'auto_explain.log_parameter_max_length = 0' }
  }
  if (isOn('pgaudit.log', 'none') && isOn('pgaudit.log_parameter', 'off')) {
    yield { cause: 'pgaudit.log', off: 'pgaudit.log_parameter = off' }
  }
}
