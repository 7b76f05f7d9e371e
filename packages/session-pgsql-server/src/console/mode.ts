import { isIP } from 'node:net'
import { SaveHandler, SessionPgsqlError } from 'session-pgsql'
import {
  encryptionOf,
  type FlagValues,
  idsOf,
  iniOf,
  isLoopback,
  passwordOf,
  portOf,
  requirePassword,
  tlsOf,
  UsageError,
} from '../flags.ts'
import { defineMode, type Mode, type ProcessContext, stopped } from '../mode.ts'
import type { PasswordAccess } from './access.ts'
import { defaultAuditFile } from './audit.ts'
import { Console } from './console.ts'
import type { Passwords } from './credentials.ts'
import { type RoleState, SIGN_IN_IDS } from './sign-ins.ts'
import { SyslogSink } from './syslog.ts'

const HELP = `usage: session-pgsql-server console [flags]

Serves a web page for operators: live metrics of sessions and servers, search for sessions, their data, and how to end
them. Without a password it listens on 127.0.0.1 only and prints a URL with a token; the URL signs in an operator.

  --ini FILE             php.ini with session_pgsql.*
  --db CONNINFO          the database, as the option db of session-pgsql
  --table NAME           the session table (php_session)
  --encryption-keys FILE the keys of encrypted sessions, "id:key" on a line each; other users must not be able to
                         read it; or SESSION_PGSQL_ENCRYPTION_KEYS in the environment; without them the console
                         shows everything but data and error messages
  --ids MODE             form of stored ids, the same in every process: plain, migrate or hashed (plain)
  --host ADDRESS         address to listen on (127.0.0.1); addresses other than loopback require a password
  --port PORT            port to listen on; 0: any free port (8095)
  --password-file FILE   file whose first line is the password of operators; other users must not be able to read it;
                         or SESSION_PGSQL_CONSOLE_PASSWORD in the environment
  --reader-password-file FILE
                         a second password, for readers: they see no session data and no whole ids, and change
                         nothing; or SESSION_PGSQL_CONSOLE_READER_PASSWORD
  --own-table NAME       with a password: the console's own table, where it stores who is signed in (TABLE_console)
  --name HOSTNAME        host name in the address bar of browsers, such as console.example.com; may be repeated
  --trust-proxy          take the client's address and scheme from X-Forwarded-For and X-Forwarded-Proto of a proxy
  --tls-cert FILE        accept TLS only, with this certificate
  --tls-key FILE         and this key, both PEM
  --metrics              serve GET /metrics for Prometheus; with a password it requires one of the passwords, for
                         example the readers': Authorization: Bearer PASSWORD. Needs the packages of OpenTelemetry
  --audit-file FILE      audit log of actions and of views of session data
                         ($STATE_DIRECTORY, $XDG_STATE_HOME/session-pgsql or ~/.local/state/session-pgsql,
                         and there console-audit.jsonl)
  --audit-stdout         also write each line of the audit log to standard output
  --audit-syslog HOST:PORT
                         also send each line of the audit log to a syslog server, over UDP
  --help                 print this text

Unset options fall back to the php.ini, then to environment variables (SESSION_PGSQL_DB, DATABASE_URL, PG*, ...),
then to the defaults.
`

const FLAGS = {
  port: { type: 'string', default: '8095' },
  'reader-password-file': { type: 'string' },
  'own-table': { type: 'string' },
  name: { type: 'string', multiple: true },
  'trust-proxy': { type: 'boolean', default: false },
  metrics: { type: 'boolean', default: false },
  'audit-file': { type: 'string' },
  'audit-stdout': { type: 'boolean', default: false },
  'audit-syslog': { type: 'string' },
} as const

/** Seconds that the rows of the console's own table live without a sign-in. */
const OWN_LIFETIME = 400 * 86_400

export const consoleMode: Mode = defineMode({
  name: 'console',
  summary: 'a web page for operators: sessions, servers, and issues that need attention',
  help: HELP,
  flags: FLAGS,

  async serve(flags, context) {
    const { stdout, stderr, signal } = context
    const log = (message: string): void => {
      stderr.write(`session-pgsql-server console: ${message}\n`)
    }
    const settings = settingsOf(flags, context)
    const syslog = syslogOf(flags, log)
    const sessions = sessionsOf(flags, context)
    const passwordAccess = passwordAccessOf(flags, context, sessions)
    const console = new Console({
      ...settings,
      sessions,
      passwordAccess,
      auditSinks: [
        ...(flags['audit-stdout'] ? [(line: string) => stdout.write(`${line}\n`)] : []),
        ...(syslog === undefined ? [] : [syslog.send]),
      ],
      log,
    })
    const { host, tls, trustProxy, auditFile } = settings
    try {
      if (passwordAccess !== undefined) await prepareSignIns(console, passwordAccess, log)
      const { url } = await console.listen()
      stdout.write(`session-pgsql-server console: ${url}\naudit log: ${auditFile}\n`)
      if (!console.hasPage) stderr.write('The page is not built. Run: npm run build\n')
      if (!isLoopback(host) && tls === undefined && !trustProxy) {
        stderr.write(
          'Without TLS, the network can read the password. Set --tls-cert and --tls-key, or run behind a proxy with --trust-proxy.\n',
        )
      }
      await stopped(signal)
    } finally {
      await console.close()
      await Promise.all([syslog?.close(), passwordAccess?.handler.close(), sessions.close()])
    }
  },
})

type Flags = FlagValues<typeof FLAGS>

/** Checks the flags that need no database. */
function settingsOf(flags: Flags, { environment }: ProcessContext) {
  const { host, 'trust-proxy': trustProxy } = flags
  const names = (flags.name ?? []).map((name) => name.toLowerCase())
  for (const name of names) {
    if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) {
      throw new UsageError(`--name: expected a host name without scheme and port, received "${name}"`)
    }
  }
  return {
    host,
    port: portOf(flags, 'port'),
    names: isIP(host) === 0 && host !== 'localhost' ? [host.toLowerCase(), ...names] : names,
    trustProxy,
    tls: tlsOf(flags),
    metrics: flags.metrics,
    auditFile: flags['audit-file'] ?? defaultAuditFile(environment),
  }
}

/**
 * The console creates no session table and collects no garbage unless an operator asks it to. It writes no session
 * data, so codec and conflict rule do not matter.
 */
function sessionsOf(flags: Flags, { environment }: ProcessContext): SaveHandler {
  return new SaveHandler(
    {
      db: flags.db,
      table: flags.table,
      encryption: encryptionOf(flags),
      ids: idsOf(flags),
      codec: 'json',
      conflict: 'merge',
      createTable: false,
      gcInterval: 0,
      // Processes that listen must learn of what an operator ends. Without any, it costs little.
      announce: true,
      poolSize: 5,
    },
    { ini: iniOf(flags), environment },
  )
}

/** @returns undefined if no password is set */
function passwordAccessOf(
  flags: Flags,
  { environment }: ProcessContext,
  sessions: SaveHandler,
): PasswordAccess | undefined {
  const passwords = passwordsOf(flags, environment)
  requirePassword(flags.host, passwords)
  if (passwords === undefined) {
    if (!flags['trust-proxy']) return undefined
    throw new UsageError(
      '--trust-proxy: a console without a password serves this machine only; set a password (--password-file)',
    )
  }
  const handler = new SaveHandler<RoleState>(
    {
      db: flags.db,
      table: flags['own-table'] ?? `${sessions.status().settings.table}_console`,
      codec: 'json',
      conflict: 'merge',
      createTable: true,
      // Two rows that are always in use.
      gcInterval: 0,
      gcMaxlifetime: OWN_LIFETIME,
      shortCircuit: false,
      whenHomeIsDown: 'absent',
      idPattern: SIGN_IN_IDS,
      poolSize: 2,
    },
    connectionSettings(iniOf(flags), environment),
  )
  return { passwords, handler }
}

/** How to connect: the only settings of the site's sessions that the console's own table has too. */
const CONNECTION_SETTINGS = ['db', 'failover_mode', 'operation_timeout']

/**
 * Returns the sources of a save handler without the settings of the site's sessions. A maximum lifetime, for example,
 * would sign out all users, and a change of the encryption keys would make the table unreadable.
 */
function connectionSettings(
  ini: ReadonlyMap<string, string>,
  environment: ProcessContext['environment'],
): { ini: ReadonlyMap<string, string>; environment: Record<string, string | undefined> } {
  const isKept = (name: string, prefix: string): boolean =>
    !name.startsWith(prefix) || CONNECTION_SETTINGS.includes(name.slice(prefix.length).toLowerCase())
  return {
    ini: new Map([...ini].filter(([name]) => isKept(name, 'session_pgsql.'))),
    environment: Object.fromEntries(
      Object.entries(environment).filter(([name]) => isKept(name, 'SESSION_PGSQL_')),
    ),
  }
}

/**
 * While the database is unreachable the console starts without its table, to show the outage; sign-ins fail until then.
 *
 * @throws UsageError if the table cannot be created or changed
 */
async function prepareSignIns(
  console: Console,
  { handler }: PasswordAccess,
  log: (message: string) => void,
): Promise<void> {
  try {
    await console.prepareSignIns()
  } catch (error) {
    if (!(error instanceof SessionPgsqlError)) throw error
    if (['SERVER_DOWN', 'TIMEOUT', 'OVERLOADED', 'AMBIGUOUS'].includes(error.code)) {
      log(`Cannot prepare sign-ins: ${error.message} Users cannot sign in until the database is reachable.`)
      return
    }
    const table = handler.status().settings.table
    throw new UsageError(
      `The console stores who is signed in in its own table ${table}, and cannot create or change it: ${error.message} Let the owner run \`session-pgsql init --table ${table}\` and grant SELECT, INSERT, UPDATE and DELETE on it to the console's database user. Or name another table with --own-table.`,
    )
  }
}

function passwordsOf(flags: Flags, environment: ProcessContext['environment']): Passwords | undefined {
  const password = (flag: string, variable: string) => passwordOf(flags, flag, environment, variable)
  const operator = password('password-file', 'SESSION_PGSQL_CONSOLE_PASSWORD')
  const reader = password('reader-password-file', 'SESSION_PGSQL_CONSOLE_READER_PASSWORD')
  if (operator === undefined) {
    if (reader === undefined) return undefined
    throw new UsageError('readers have a password and operators have none: set --password-file')
  }
  if (operator === reader)
    throw new UsageError('readers and operators have the same password: set different ones')
  return { operator, reader }
}

function syslogOf({ 'audit-syslog': target }: Flags, log: (message: string) => void): SyslogSink | undefined {
  if (target === undefined) return undefined
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(target) ?? []
  if (host === undefined || !(Number(port) > 0 && Number(port) < 65_536)) {
    throw new UsageError(`--audit-syslog: expected HOST:PORT, such as localhost:514, received "${target}"`)
  }
  return new SyslogSink(host.replace(/^\[(.*)\]$/, '$1'), Number(port), log)
}
