import { userInfo } from 'node:os'
import { hidden } from '../hidden.ts'
import { KEYWORDS } from './keywords.ts'
import { readService } from './service-file.ts'
import { invalid, type Pairs, parsePairs } from './syntax.ts'

export { splitEntries } from './syntax.ts'

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'

export type TargetSessionAttrs = 'any' | 'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby'

export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'

export interface TlsSettings {
  /** @default 'prefer', as in libpq; 'verify-full' with `sslrootcert=system` */
  readonly mode: SslMode
  /** File of trusted certificate authorities, or `system`. Undefined for ~/.postgresql/root.crt, if it exists. */
  readonly rootCert: string | undefined
  /** File of revoked certificates. Undefined for ~/.postgresql/root.crl, if it exists. */
  readonly crl: string | undefined
  /** File of the client certificate. Undefined for ~/.postgresql/postgresql.crt, if it exists. */
  readonly cert: string | undefined
  /** File of the client certificate's key. Undefined for ~/.postgresql/postgresql.key, if it exists. */
  readonly key: string | undefined
  /** Password of the encrypted key. Not enumerable. */
  readonly password: string | undefined
  /** `direct` saves a round trip; from PostgreSQL 17. @default 'postgres' */
  readonly negotiation: 'postgres' | 'direct'
  /** @default undefined, Node's default TLSv1.2 */
  readonly minVersion: TlsVersion | undefined
  /** @default undefined, the highest that both sides support */
  readonly maxVersion: TlsVersion | undefined
}

export interface Host {
  /** Name, address, or directory of a Unix socket (begins with `/`). Certificates and password files are matched with it. */
  readonly host: string
  readonly port: number
  /** `hostaddr`: the address to connect to, without a DNS lookup of `host`. */
  readonly address: string | undefined
}

/** One entry of `db`: a server, or the hosts of a replicated group. */
export interface Conninfo {
  /**
   * The server's name in placement and status: the keyword `name`, or hosts, ports and database, as in
   * `db1:5432,db2:5432/sessions`. Never contains a password.
   */
  readonly name: string
  /** In the given order; at least one. */
  readonly hosts: readonly Host[]
  readonly user: string
  readonly database: string
  /** Not enumerable. Undefined for the password file's, if the server requires a password. */
  readonly password: string | undefined
  readonly tls: TlsSettings
  /** Seconds for each host. Undefined for no limit (`0` in libpq). */
  readonly connectTimeout: number | undefined
  /** Which hosts can be used. @default 'any' */
  readonly targetSessionAttrs: TargetSessionAttrs
  /** `random`: use the hosts in a random order. @default 'disable' */
  readonly loadBalanceHosts: 'disable' | 'random'
  /** Whether TCP keepalives are sent. @default true */
  readonly keepalives: boolean
  /** Seconds of inactivity before the first keepalive. Undefined for the operating system's default. */
  readonly keepalivesIdle: number | undefined
  /** Undefined for `session_pgsql`. */
  readonly applicationName: string | undefined
  /** Command-line options of the server process, such as `-c statement_timeout=5s`. */
  readonly options: string | undefined
  /** Password file. Undefined for ~/.pgpass, if it exists. */
  readonly passfile: string | undefined
  /** This server's share of the sessions relative to other servers; not a keyword of libpq. @default 1 */
  readonly weight: number
}

/**
 * Parses one entry of `db`, a libpq conninfo string or URL. Missing values come from libpq's environment variables,
 * then from libpq's defaults.
 *
 * @param environment usually `process.env`
 * @param afterPassword the previous entry ended in an unquoted password, of which this entry may be the rest: its first
 *   keyword is not shown in messages if it is unknown
 * @throws INVALID_OPTION
 */
export function parseConninfo(
  text: string,
  environment: Record<string, string | undefined>,
  afterPassword = false,
): Conninfo {
  const given = parsePairs(text, afterPassword)
  const read = reader(given, environment)
  for (const [keyword, entry] of Object.entries(KEYWORDS)) {
    const value = read(keyword)
    if (entry.unsupported !== undefined && value !== undefined && entry.harmless?.includes(value) !== true) {
      throw invalid(`${keyword}: this value is not supported: ${entry.unsupported}`)
    }
  }
  const hosts = hostsOf(read)
  const user = read('user') || operatingSystemUser(environment)
  const database = read('dbname') || user
  const tls = tlsOf(read)
  return Object.freeze(
    hidden(
      {
        name: nameOf(read('name'), hosts, database),
        hosts,
        user,
        database,
        tls,
        connectTimeout: positive(integer(read, 'connect_timeout')),
        targetSessionAttrs: oneOf(read, 'target_session_attrs', 'any', [
          'any',
          'read-write',
          'read-only',
          'primary',
          'standby',
          'prefer-standby',
        ]),
        loadBalanceHosts: oneOf(read, 'load_balance_hosts', 'disable', ['disable', 'random']),
        keepalives: integer(read, 'keepalives') !== 0,
        keepalivesIdle: positive(integer(read, 'keepalives_idle')),
        applicationName: read('application_name') || read('fallback_application_name') || undefined,
        options: read('options') || undefined,
        passfile: read('passfile') || undefined,
        weight: weightOf(read('weight')),
      },
      { password: read('password') || undefined },
    ),
  )
}

type Read = (keyword: string) => string | undefined

/** As in libpq: values of the string, even empty ones, come before the service file, and that before the environment. */
function reader(given: Pairs, environment: Record<string, string | undefined>): Read {
  const fromEnvironment = (keyword: string): string | undefined => {
    const variable = KEYWORDS[keyword]?.variable
    return variable === undefined ? undefined : environment[variable]
  }
  const service = given.get('service') ?? fromEnvironment('service')
  const file = given.get('servicefile') ?? fromEnvironment('servicefile')
  const served: Pairs = service ? readService(service, file, environment) : new Map()
  return (keyword) => given.get(keyword) ?? served.get(keyword) ?? fromEnvironment(keyword)
}

/**
 * libpq's default is a socket directory chosen when libpq was compiled, which differs between distributions. Without
 * one, it is localhost, as here.
 */
const DEFAULT_HOST = 'localhost'
const DEFAULT_PORT = 5432

function hostsOf(read: Read): readonly Host[] {
  const names = list(read('host'))
  const addresses = list(read('hostaddr'))
  const ports = list(read('port'))
  const count = Math.max(names.length, addresses.length, 1)
  if (names.length > 0 && addresses.length > 0 && names.length !== addresses.length) {
    throw invalid(
      `expected as many values for hostaddr as for host; received ${names.length} values for host, but ${addresses.length} for hostaddr`,
    )
  }
  if (ports.length > 1 && ports.length !== count) {
    throw invalid(
      `expected one value for port, or one for each host; received ${ports.length} values for port, but ${count} for host`,
    )
  }
  return Object.freeze(
    Array.from({ length: count }, (_, i) => {
      const address = addresses[i] || undefined
      const host = names[i] || address || DEFAULT_HOST
      if (!host.startsWith('/') && !/^[^\s@=/?#'"\\;]+$/.test(host)) {
        throw invalid(
          'host: expected a name, an address, or a directory that begins with /. Write @ in the password of a URL as %40, and an empty value as two single quotes',
        )
      }
      return Object.freeze({ host, port: portOf(ports.length === 1 ? ports[0] : ports[i]), address })
    }),
  )
}

function list(value: string | undefined): string[] {
  return value === undefined || value === '' ? [] : value.split(',').map((part) => part.trim())
}

function portOf(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_PORT
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65535) {
    throw invalid(
      'port: expected a number from 1 to 65535. Write / and @ in the password of a URL as %2F and %40',
    )
  }
  return port
}

function operatingSystemUser(environment: Record<string, string | undefined>): string {
  try {
    return userInfo().username
  } catch {
    // The user id of a container process may have no name.
    const user = environment.USER || environment.USERNAME
    if (user) return user
    throw invalid(
      'no user is set, and the operating system user of this process has no name. Add user=…, or set PGUSER',
    )
  }
}

function nameOf(given: string | undefined, hosts: readonly Host[], database: string): string {
  if (given) return given
  const places = hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  return `${places.join(',')}/${database}`
}

const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

function tlsOf(read: Read): TlsSettings {
  const rootCert = read('sslrootcert') || undefined
  const system = rootCert === 'system'
  const mode = oneOf<SslMode>(read, 'sslmode', system ? 'verify-full' : 'prefer', [
    'disable',
    'allow',
    'prefer',
    'require',
    'verify-ca',
    'verify-full',
  ])
  if (system && mode !== 'verify-full') {
    // Anyone can get a certificate of a public authority; only the host name identifies the server.
    throw invalid(`sslrootcert=system requires sslmode=verify-full, not ${mode}`)
  }
  const negotiation = oneOf(read, 'sslnegotiation', 'postgres', ['postgres', 'direct'])
  if (negotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(mode)) {
    throw invalid(`sslnegotiation=direct requires sslmode=require or stricter, not ${mode}`)
  }
  const minVersion = oneOf(read, 'ssl_min_protocol_version', undefined, TLS_VERSIONS)
  const maxVersion = oneOf(read, 'ssl_max_protocol_version', undefined, TLS_VERSIONS)
  if (minVersion !== undefined && maxVersion !== undefined && minVersion > maxVersion) {
    throw invalid('ssl_min_protocol_version is higher than ssl_max_protocol_version')
  }
  return Object.freeze(
    hidden(
      {
        mode,
        rootCert,
        crl: read('sslcrl') || undefined,
        cert: read('sslcert') || undefined,
        key: read('sslkey') || undefined,
        negotiation,
        minVersion,
        maxVersion,
      },
      { password: read('sslpassword') || undefined },
    ),
  )
}

function oneOf<T extends string>(read: Read, keyword: string, fallback: T, allowed: readonly T[]): T
function oneOf<T extends string>(
  read: Read,
  keyword: string,
  fallback: T | undefined,
  allowed: readonly T[],
): T | undefined
function oneOf<T extends string>(
  read: Read,
  keyword: string,
  fallback: T | undefined,
  allowed: readonly T[],
): T | undefined {
  const value = read(keyword)
  if (value === undefined || value === '') return fallback
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw invalid(`${keyword}: expected one of ${allowed.join(', ')}`)
  return found
}

function integer(read: Read, keyword: string): number | undefined {
  const value = read(keyword)?.trim()
  if (value === undefined || value === '') return undefined
  if (!/^[+-]?\d{1,9}$/.test(value)) throw invalid(`${keyword}: expected a whole number`)
  return Number(value)
}

/** As in libpq, zero and negative values mean unset. */
function positive(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined
}

function weightOf(text: string | undefined): number {
  if (text === undefined || text === '') return 1
  const weight = /^\d*\.?\d+$/.test(text) ? Number(text) : -1
  if (!(weight >= 0 && weight <= 1e6)) {
    throw invalid('weight: expected a number such as 2, or 0 for a server that is being drained')
  }
  return weight
}
