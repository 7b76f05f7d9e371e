import { isIP } from 'node:net'
import { parseArgs } from 'node:util'
import { type PhpSessionFormat, phpBytesCodec, readPhpIni, SaveHandler } from 'session-pgsql'
import { defaultAuditFile } from '../console/audit.ts'
import { startConsole } from '../console/start.ts'
import { ended, isLoopback, numberOf, passwordIn, tlsOf } from '../flags.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type Mode, type Surroundings, UsageError } from '../mode.ts'
import { Gateway, type GatewayOptions } from './gateway.ts'
import { BYTES, type Sessions } from './php-side.ts'

const FORMATS: readonly string[] = ['php', 'php_serialize', 'php_binary']

const HELP = `usage: session-pgsql-server gateway [flags]

Serves sessions to PHP over the protocol of phpredis. In php.ini:

  session.save_handler = redis
  session.save_path = "tcp://127.0.0.1:6380?prefix=PHPSESSID:"

  --ini FILE             settings from a php.ini: session_pgsql.*, session.gc_maxlifetime,
                         session.serialize_handler
  --db CONNINFO          the database, as the library's option db
  --table NAME           the session table (php_session)
  --codec NAME           php, php_serialize or php_binary: PHP's session.serialize_handler (php)
  --host ADDRESS         where to listen (127.0.0.1); another address than loopback wants a password
  --port PORT            (6380)
  --password-file FILE   its first line is the password that clients must give (AUTH);
                         or SESSION_PGSQL_SERVER_PASSWORD in the environment
  --password PASSWORD    the same, seen by everybody who lists the processes
  --tls-cert FILE        speak TLS, with this certificate
  --tls-key FILE         and this key, both PEM
  --max-connections N    (1000)
  --max-value BYTES      largest session (8388608)
  --idle-timeout SECONDS end connections that say nothing for so long; 0: never (0)
  --health-port PORT     answer GET /health over HTTP: 200, or 503 while the database is away; and
                         GET /metrics, for Prometheus
  --console-port PORT    serve the console too, on 127.0.0.1 for this machine alone; for other machines
                         run \`session-pgsql-server console\`
  --help

What is left out comes from the environment, as in the library: SESSION_PGSQL_DB, DATABASE_URL, PG*, …
`

const FLAGS = {
  ini: { type: 'string' },
  db: { type: 'string' },
  table: { type: 'string' },
  codec: { type: 'string' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '6380' },
  password: { type: 'string' },
  'password-file': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'max-connections': { type: 'string', default: '1000' },
  'max-value': { type: 'string', default: String(8 * 1024 * 1024) },
  'idle-timeout': { type: 'string', default: '0' },
  'health-port': { type: 'string' },
  'console-port': { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

export const gatewayMode: Mode = {
  name: 'gateway',
  summary: 'sessions for PHP, whose session.save_handler = redis speaks to it',

  async run(argv, surroundings): Promise<number> {
    const { stdout, signal } = surroundings
    const flags = parse(argv)
    if (flags.help) {
      stdout.write(HELP)
      return 0
    }
    const consolePort =
      flags['console-port'] === undefined ? undefined : numberOf(flags, 'console-port', 0, 65_535)
    const options = optionsOf(flags, surroundings)
    const { sessions, host } = options
    const metrics = options.healthPort === undefined ? undefined : await recorded(sessions)
    const gateway = new Gateway({ ...options, metrics })
    let console: { readonly port: number; close(): Promise<void> } | undefined
    try {
      const { port, healthPort } = await gateway.listen()
      const at = isIP(host) === 6 ? `[${host}]` : host
      stdout.write(
        `session-pgsql-server gateway: listening on ${options.tls ? 'tls' : 'tcp'}://${at}:${port}, codec ${sessions.status().settings.codec}\n`,
      )
      if (healthPort !== undefined)
        stdout.write(
          `health: http://${at}:${healthPort}/health, metrics: http://${at}:${healthPort}/metrics\n`,
        )
      if (consolePort !== undefined) {
        const auditFile = defaultAuditFile(surroundings.environment)
        console = await startConsole({ sessions, port: consolePort, auditFile })
        stdout.write(`console: http://127.0.0.1:${console.port}/\n`)
      }
      // The database may come later than the gateway; PHP sees failures until it does.
      await sessions
        .open()
        .then(() => stdout.write('the database answers\n'))
        .catch((error) => surroundings.stderr.write(`the database does not answer yet: ${error.message}\n`))
      await ended(signal)
      stdout.write('stopping: no new connections, what is under way is answered\n')
    } finally {
      await Promise.all([gateway.close(), console?.close()])
      await metrics?.close()
      await sessions.close()
    }
    return 0
  },
}

/** Loaded where it is wanted: OpenTelemetry's SDK takes a while, and memory. */
async function recorded(sessions: Sessions): Promise<Metrics> {
  const { Metrics } = await import('../metrics/metrics.ts')
  return new Metrics(sessions)
}

type Flags = ReturnType<typeof parse>

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function optionsOf(flags: Flags, { environment }: Surroundings): GatewayOptions {
  const ini = flags.ini === undefined ? new Map<string, string>() : readPhpIni(flags.ini)
  const format =
    flags.codec ??
    ini.get('session_pgsql.codec') ??
    environment.SESSION_PGSQL_CODEC ??
    ini.get('session.serialize_handler') ??
    'php'
  if (!FORMATS.includes(format)) {
    throw new UsageError(
      `codec: expected one of ${FORMATS.join(', ')}, got "${format}"; set session.serialize_handler in PHP and --codec here to one of them`,
    )
  }
  const password = passwordOf(flags, environment)
  const { host } = flags
  if (password === undefined && !isLoopback(host)) {
    throw new UsageError(
      `--host ${host} can be reached from other machines: set a password (--password-file), or listen on 127.0.0.1`,
    )
  }
  const tls = tlsOf(flags)
  const sessions = new SaveHandler<Uint8Array>(
    {
      db: flags.db,
      table: flags.table,
      codec: phpBytesCodec(format as PhpSessionFormat),
      idPattern: 'php',
    },
    { ini, environment },
  )
  return {
    sessions,
    php: BYTES,
    host,
    port: numberOf(flags, 'port', 0, 65_535),
    password,
    tls,
    maxConnections: numberOf(flags, 'max-connections', 1, 1_000_000),
    maxValue: numberOf(flags, 'max-value', 1024, 512 * 1024 * 1024),
    idleTimeout: numberOf(flags, 'idle-timeout', 0, 1_000_000),
    healthPort: flags['health-port'] === undefined ? undefined : numberOf(flags, 'health-port', 0, 65_535),
  }
}

function passwordOf(flags: Flags, environment: Surroundings['environment']): string | undefined {
  const password =
    flags.password ??
    passwordIn('--password-file', flags['password-file']) ??
    environment.SESSION_PGSQL_SERVER_PASSWORD
  if (password === '') throw new UsageError('the password is empty')
  return password
}
