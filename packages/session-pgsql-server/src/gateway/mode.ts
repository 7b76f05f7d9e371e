import { type PhpSessionFormat, phpBytesCodec, SaveHandler } from 'session-pgsql'
import { defaultAuditFile } from '../console/audit.ts'
import { type StartedConsole, startConsole } from '../console/start.ts'
import {
  encryptionOf,
  hostInUrl,
  idsOf,
  iniOf,
  numberOf,
  passwordOf,
  portOf,
  requirePassword,
  tlsOf,
  UsageError,
} from '../flags.ts'
import { INSTALL_METRICS, loadMetrics } from '../metrics/load.ts'
import { defineMode, type Mode, type ProcessContext, stopped } from '../mode.ts'
import { boundedCodec, MAX_VALUES } from './bounded-codec.ts'
import { Gateway } from './gateway.ts'
import { LARAVEL, LARAVEL_PREFIXES, laravelCodec } from './laravel.ts'
import type { SocketOptions } from './socket.ts'
import { PHP_BYTES } from './wire-format.ts'

type Format = PhpSessionFormat | 'laravel'

const FORMATS: readonly Format[] = ['php', 'php_serialize', 'php_binary', 'laravel']

const HELP = `usage: session-pgsql-server gateway [flags]

Serves sessions to PHP over the protocol of phpredis. In php.ini:

  session.save_handler = redis
  session.save_path = "tcp://127.0.0.1:6380?prefix=PHPSESSID:"

  --ini FILE             php.ini with session_pgsql.*, session.gc_maxlifetime and
                         session.serialize_handler
  --db CONNINFO          the database, as the option db of session-pgsql
  --table NAME           the session table (php_session)
  --encryption-keys FILE the keys of encrypted sessions, "id:key" on a line each;
                         or SESSION_PGSQL_ENCRYPTION_KEYS in the environment
  --ids MODE             form of stored ids, the same in every process: plain, migrate or hashed (plain)
  --codec NAME           php, php_serialize or php_binary: PHP's session.serialize_handler (php);
                         or laravel: Laravel's own session driver redis
  --max-lifetime SECONDS end sessions this long after they began, however often they are used; as
                         session_pgsql.max_lifetime in the php.ini (unlimited)
  --prefix PREFIX        prefix of the keys, as prefix= in session.save_path; may be repeated (any name and a colon)
  --host ADDRESS         address to listen on (127.0.0.1); addresses other than loopback require a password
  --port PORT            port to listen on; 0: any free port (6380); with --socket, none unless it is set
  --socket PATH          listen on a Unix socket, as phpredis' unix:PATH
  --socket-mode MODE     permissions of the socket, in octal (660)
  --password-file FILE   file whose first line is the password that clients must send (AUTH);
                         or SESSION_PGSQL_SERVER_PASSWORD in the environment
  --password PASSWORD    the password itself, which every user of this machine can see in the process list
  --tls-cert FILE        accept TLS only, with this certificate
  --tls-key FILE         and this key, both PEM
  --max-connections N    maximum number of connections; further ones are refused (1000)
  --max-value BYTES      largest session (8388608)
  --max-values N         maximum number of values in a session; above a fifth of it, sessions are not merged (100000)
  --idle-timeout SECONDS close connections without commands after this time; 0: never (0)
  --create-unread        let a write create a session that its client has not read, for clients that only write
  --health-port PORT     serve GET /health over HTTP: 200, or 503 while the database is unreachable;
                         and GET /metrics for Prometheus, if the packages of OpenTelemetry are
                         installed; neither needs a password
  --health-host ADDRESS  address of --health-port (127.0.0.1)
  --health-name NAME     a host name that these requests may use; may be repeated
  --console-port PORT    also serve the console, on 127.0.0.1 only, and print a URL with a token for it;
                         to serve it to other machines, run \`session-pgsql-server console\`
  --help                 print this text

Unset options fall back to the php.ini, then to environment variables (SESSION_PGSQL_DB, DATABASE_URL, PG*, ...),
then to the defaults.
`

export const gatewayMode: Mode = defineMode({
  name: 'gateway',
  summary: 'sessions for PHP, over the protocol of phpredis (session.save_handler = redis)',
  help: HELP,
  flags: {
    codec: { type: 'string' },
    'max-lifetime': { type: 'string' },
    prefix: { type: 'string', multiple: true },
    port: { type: 'string' },
    socket: { type: 'string' },
    'socket-mode': { type: 'string', default: '660' },
    password: { type: 'string' },
    'max-connections': { type: 'string', default: '1000' },
    'max-value': { type: 'string', default: String(8 * 1024 * 1024) },
    'max-values': { type: 'string', default: String(MAX_VALUES) },
    'idle-timeout': { type: 'string', default: '0' },
    'create-unread': { type: 'boolean', default: false },
    'health-port': { type: 'string' },
    'health-host': { type: 'string', default: '127.0.0.1' },
    'health-name': { type: 'string', multiple: true },
    'console-port': { type: 'string' },
  },

  async serve(flags, { environment, stdout, stderr, signal }) {
    const consolePort = flags['console-port'] === undefined ? undefined : portOf(flags, 'console-port')
    const healthPort = flags['health-port'] === undefined ? undefined : portOf(flags, 'health-port')
    const socket = socketOf(flags.socket, flags['socket-mode'])
    const port =
      socket !== undefined && flags.port === undefined
        ? undefined
        : portOf({ port: '6380', ...flags }, 'port')
    const maxConnections = numberOf(flags, 'max-connections', 1, 1_000_000)
    const maxValue = numberOf(flags, 'max-value', 1024, 512 * 1024 * 1024)
    const maxValues = numberOf(flags, 'max-values', 100, 1_000_000_000)
    const idleTimeout = numberOf(flags, 'idle-timeout', 0, 1_000_000)
    const maxLifetime =
      flags['max-lifetime'] === undefined ? undefined : numberOf(flags, 'max-lifetime', 1, 1e10)
    const { host } = flags
    const ini = iniOf(flags)
    const format = formatOf(flags.codec, ini, environment)
    const password =
      flags.password ?? passwordOf(flags, 'password-file', environment, 'SESSION_PGSQL_SERVER_PASSWORD')
    if (password === '') throw new UsageError('--password: the password is empty')
    if (port !== undefined) requirePassword(host, password)
    const tls = tlsOf(flags)
    const isLaravel = format === 'laravel'
    const codec = isLaravel ? laravelCodec : phpBytesCodec(format)
    const sessions = new SaveHandler<Uint8Array>(
      {
        db: flags.db,
        table: flags.table,
        ids: idsOf(flags),
        maxLifetime,
        encryption: encryptionOf(flags),
        codec: boundedCodec(codec, maxValues),
        idPattern: 'php',
      },
      { ini, environment },
    )
    const metrics = healthPort === undefined ? undefined : await loadMetrics(sessions)
    const gateway = new Gateway({
      sessions,
      wireFormat: isLaravel ? LARAVEL : PHP_BYTES,
      prefixes: flags.prefix ?? (isLaravel ? LARAVEL_PREFIXES : []),
      isLaravel,
      createUnread: flags['create-unread'],
      host,
      port,
      socket,
      password,
      tls,
      maxConnections,
      maxValue,
      idleTimeout,
      healthPort,
      healthHost: flags['health-host'],
      healthNames: flags['health-name']?.map((name) => name.toLowerCase()),
      metrics,
      meter: metrics?.meter,
      log: (line) => stderr.write(`${line}\n`),
    })
    let console: StartedConsole | undefined
    try {
      const ports = await gateway.listen()
      const places = [
        ...(ports.port === 0 ? [] : [`${tls ? 'tls' : 'tcp'}://${hostInUrl(host)}:${ports.port}`]),
        ...(socket === undefined ? [] : [`unix:${socket.path}`]),
      ]
      stdout.write(`session-pgsql-server gateway: listening on ${places.join(' and ')}, codec ${format}\n`)
      if (ports.healthPort !== undefined) {
        const url = `http://${hostInUrl(flags['health-host'])}:${ports.healthPort}`
        stdout.write(`health: ${url}/health${metrics ? `, metrics: ${url}/metrics` : ''}\n`)
        if (metrics === undefined) stderr.write(`${INSTALL_METRICS}\n`)
      }
      if (consolePort !== undefined) {
        const auditFile = defaultAuditFile(environment)
        console = await startConsole({ sessions, port: consolePort, auditFile })
        stdout.write(`console: ${console.url}\n`)
      }
      // The database may become reachable later than the gateway; until then PHP's reads and writes fail.
      await sessions
        .open()
        .then(() => stdout.write('connected to the database\n'))
        .catch((error) =>
          stderr.write(
            `Cannot connect to the database; sessions fail until it is reachable: ${error.message}\n`,
          ),
        )
      await stopped(signal)
      stdout.write('stopping: accepting no new connections, finishing commands in progress\n')
    } finally {
      await Promise.all([gateway.close(), console?.close()])
      await metrics?.close()
      await sessions.close()
    }
  },
})

function socketOf(path: string | undefined, mode: string): SocketOptions | undefined {
  if (path === undefined) return undefined
  if (!/^0?[0-7]{3}$/.test(mode)) {
    throw new UsageError(`--socket-mode: expected three octal digits, such as 660, received "${mode}"`)
  }
  return { path, mode: Number.parseInt(mode, 8) }
}

function formatOf(
  flag: string | undefined,
  ini: ReadonlyMap<string, string>,
  environment: ProcessContext['environment'],
): Format {
  const format =
    flag ??
    ini.get('session_pgsql.codec') ??
    environment.SESSION_PGSQL_CODEC ??
    ini.get('session.serialize_handler') ??
    'php'
  if (isFormat(format)) return format
  throw new UsageError(
    `codec: expected one of ${FORMATS.join(', ')}, received "${format}"; set PHP's session.serialize_handler and --codec to the same one of them`,
  )
}

function isFormat(format: string): format is Format {
  return (FORMATS as readonly string[]).includes(format)
}
