import { isIP } from 'node:net'
import { SaveHandler } from 'session-pgsql'
import {
  type FlagValues,
  hostInUrl,
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
import type { Passwords } from './access.ts'
import { defaultAuditFile } from './audit.ts'
import { Console, type ConsoleOptions } from './console.ts'

const HELP = `usage: session-pgsql-server console [flags]

A web page for operators: how many sessions there are and how the servers do, live; look for sessions,
look at them, end them. By default it is for this machine alone, and without a password.

  --ini FILE             settings from a php.ini: session_pgsql.*
  --db CONNINFO          the database, as the library's option db
  --table NAME           the session table (php_session)
  --ids MODE             form of stored ids, the same in every process: plain, migrate or hashed (plain)
  --host ADDRESS         where to listen (127.0.0.1); another address than loopback wants a password
  --port PORT            (8095)
  --password-file FILE   its first line is the operators' password;
                         or SESSION_PGSQL_CONSOLE_PASSWORD in the environment
  --reader-password-file FILE
                         another password, for those who may look at everything but the data of
                         sessions, and end nothing; or SESSION_PGSQL_CONSOLE_READER_PASSWORD
  --name HOSTNAME        a name by which browsers reach it, such as console.example.com; may be repeated
  --trust-proxy          a proxy in front sets X-Forwarded-For and X-Forwarded-Proto
  --tls-cert FILE        speak TLS, with this certificate
  --tls-key FILE         and this key, both PEM
  --metrics              answer GET /metrics, for Prometheus; where there is a password, to who sends one of
                         them, the readers' say: Authorization: Bearer PASSWORD
  --audit-file FILE      where acts and looks at data are noted
                         ($STATE_DIRECTORY, $XDG_STATE_HOME/session-pgsql or ~/.local/state/session-pgsql,
                         and there console-audit.jsonl)
  --help

What is left out comes from the environment, as in the library: SESSION_PGSQL_DB, DATABASE_URL, PG*, …
`

const FLAGS = {
  port: { type: 'string', default: '8095' },
  'reader-password-file': { type: 'string' },
  name: { type: 'string', multiple: true },
  'trust-proxy': { type: 'boolean', default: false },
  metrics: { type: 'boolean', default: false },
  'audit-file': { type: 'string' },
} as const

export const consoleMode: Mode = defineMode({
  name: 'console',
  summary: 'a web page for operators: sessions, servers, and what wants attention',
  help: HELP,
  flags: FLAGS,

  async serve(flags, context) {
    const { stdout, stderr, signal } = context
    const options = optionsOf(flags, context)
    const { sessions, host, tls, trustProxy } = options
    const console = new Console(options)
    try {
      const port = await console.listen()
      const at = `${tls ? 'https' : 'http'}://${hostInUrl(host)}:${port}/`
      stdout.write(`session-pgsql-server console: ${at}\naudit log: ${options.auditFile}\n`)
      if (!console.hasPage) stderr.write('the page has not been built: npm run build\n')
      if (!isLoopback(host) && tls === undefined && !trustProxy) {
        stderr.write(
          'without TLS the password can be read on its way: --tls-cert, or a proxy and --trust-proxy\n',
        )
      }
      await stopped(signal)
    } finally {
      await console.close()
      await sessions.close()
    }
  },
})

type Flags = FlagValues<typeof FLAGS>

function optionsOf(flags: Flags, { environment, stderr }: ProcessContext): ConsoleOptions {
  const passwords = passwordsOf(flags, environment)
  const { host, 'trust-proxy': trustProxy } = flags
  requirePassword(host, passwords)
  if (passwords === undefined && trustProxy) {
    throw new UsageError(
      '--trust-proxy: whoever reaches the proxy would be an operator; set a password (--password-file)',
    )
  }
  const names = (flags.name ?? []).map((name) => name.toLowerCase())
  for (const name of names) {
    if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) {
      throw new UsageError(`--name: expected a host name without scheme and port, got "${name}"`)
    }
  }
  const sessions = new SaveHandler(
    // It looks, and leaves it to the sites to create a table and to collect garbage; nor does it change anything of a
    // session, so that neither codec nor conflicts concern it, but for its own.
    {
      db: flags.db,
      table: flags.table,
      ids: idsOf(flags),
      codec: 'json',
      conflict: 'merge',
      createTable: false,
      gcInterval: 0,
      poolSize: 5,
    },
    { ini: iniOf(flags), environment },
  )
  return {
    sessions,
    host,
    port: portOf(flags, 'port'),
    passwords,
    names: isIP(host) === 0 && host !== 'localhost' ? [host.toLowerCase(), ...names] : names,
    trustProxy,
    tls: tlsOf(flags),
    metrics: flags.metrics,
    auditFile: flags['audit-file'] ?? defaultAuditFile(environment),
    log: (message) => stderr.write(`session-pgsql-server console: ${message}\n`),
  }
}

function passwordsOf(flags: Flags, environment: ProcessContext['environment']): Passwords | undefined {
  const password = (flag: string, variable: string) => passwordOf(flags, flag, environment, variable)
  const operator = password('password-file', 'SESSION_PGSQL_CONSOLE_PASSWORD')
  const reader = password('reader-password-file', 'SESSION_PGSQL_CONSOLE_READER_PASSWORD')
  if (operator === undefined) {
    if (reader === undefined) return undefined
    throw new UsageError('the readers have a password and the operators have none: set --password-file')
  }
  if (operator === reader) throw new UsageError('readers and operators have the same password')
  return { operator, reader }
}
