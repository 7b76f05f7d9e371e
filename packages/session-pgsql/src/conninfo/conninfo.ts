import { userInfo } from 'node:os'
import { hidden } from '../hidden.ts'
import { type Given, givenSettings, integer, oneOf, positive } from './given.ts'
import { KEYWORDS } from './keywords.ts'
import { invalid } from './syntax.ts'

export { splitEntries } from './syntax.ts'

/** libpq's, and node-postgres' `no-verify`: as `require`, but the certificate is never verified. */
export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full' | 'no-verify'

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
  /**
   * `require`: refuse a server that does not authenticate by SCRAM-SHA-256-PLUS, which proves that no other server is
   * in between. The other values use no channel binding.
   * @default 'prefer', as in libpq
   */
  readonly channelBinding: 'disable' | 'prefer' | 'require'
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
  /** Prisma's `schema`: the schema of the tables. Undefined for that of the connection's search_path. */
  readonly schema: string | undefined
  /** Returns where the value of a keyword comes from, for messages. Not enumerable. */
  originOf(keyword: string): string
}

/**
 * Parses one entry of `db`, a libpq conninfo string or URL. Missing values come from libpq's environment variables,
 * then from libpq's defaults.
 *
 * @param environment usually `process.env`
 * @param origin where the string comes from, for messages
 * @param afterPassword the previous entry ended in an unquoted password, of which this entry may be the rest: its first
 *   keyword is not shown in messages if it is unknown
 * @throws INVALID_OPTION
 */
export function parseConninfo(
  text: string,
  environment: Record<string, string | undefined>,
  origin = 'option db',
  afterPassword = false,
): Conninfo {
  const given = givenSettings(text, environment, origin, afterPassword)
  const { read } = given
  for (const [keyword, entry] of Object.entries(KEYWORDS)) {
    const value = read(keyword)
    if (entry.unsupported !== undefined && value !== undefined && entry.harmless?.includes(value) !== true) {
      throw given.invalid(keyword, `this value is not supported: ${entry.unsupported}`)
    }
  }
  const hosts = hostsOf(given)
  const user = read('user') || operatingSystemUser(environment, origin)
  const database = read('dbname') || user
  const tls = tlsOf(given)
  return Object.freeze(
    hidden(
      {
        name: nameOf(read('name'), hosts, database),
        hosts,
        user,
        database,
        tls,
        connectTimeout: positive(integer(given, 'connect_timeout')),
        targetSessionAttrs: oneOf(given, 'target_session_attrs', 'any', [
          'any',
          'read-write',
          'read-only',
          'primary',
          'standby',
          'prefer-standby',
        ]),
        loadBalanceHosts: oneOf(given, 'load_balance_hosts', 'disable', ['disable', 'random']),
        keepalives: integer(given, 'keepalives') !== 0,
        keepalivesIdle: positive(integer(given, 'keepalives_idle')),
        applicationName: read('application_name') || read('fallback_application_name') || undefined,
        options: read('options') || undefined,
        passfile: read('passfile') || undefined,
        weight: weightOf(given),
        schema: read('schema') || undefined,
      },
      { password: passwordOf(given), originOf: given.originOf },
    ),
  )
}

/**
 * libpq's default is a socket directory chosen when libpq was compiled, which differs between distributions. Without
 * one, it is localhost, as here.
 */
const DEFAULT_HOST = 'localhost'
const DEFAULT_PORT = 5432

function hostsOf(given: Given): readonly Host[] {
  const names = list(given.read('host'))
  const addresses = list(given.read('hostaddr'))
  const ports = list(given.read('port'))
  const count = Math.max(names.length, addresses.length, 1)
  if (names.length > 0 && addresses.length > 0 && names.length !== addresses.length) {
    throw invalid(
      given.origin,
      `expected as many values for hostaddr as for host; received ${names.length} values for host${given.from('host')}, but ${addresses.length} for hostaddr${given.from('hostaddr')}`,
    )
  }
  if (ports.length > 1 && ports.length !== count) {
    throw invalid(
      given.origin,
      `expected one value for port, or one for each host; received ${ports.length} values for port${given.from('port')}, but ${count} for host${given.from('host')}`,
    )
  }
  return Object.freeze(
    Array.from({ length: count }, (_, i) => {
      const address = addresses[i] || undefined
      const host = names[i] || address || DEFAULT_HOST
      if (!host.startsWith('/') && !/^[^\s@=/?#'"\\;]+$/.test(host)) {
        throw given.invalid(
          'host',
          'expected a name, an address, or a directory that begins with /. Write @ in the password of a URL as %40, and an empty value as two single quotes',
        )
      }
      return Object.freeze({ host, port: portOf(given, ports.length === 1 ? ports[0] : ports[i]), address })
    }),
  )
}

function list(value: string | undefined): string[] {
  return value === undefined || value === '' ? [] : value.split(',').map((part) => part.trim())
}

function portOf(given: Given, text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_PORT
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65535) {
    throw given.invalid(
      'port',
      'expected a number from 1 to 65535. Write / and @ in the password of a URL as %2F and %40',
    )
  }
  return port
}

function operatingSystemUser(environment: Record<string, string | undefined>, origin: string): string {
  try {
    return userInfo().username
  } catch {
    // The user id of a container process may have no name.
    const user = environment.USER || environment.USERNAME
    if (user) return user
    throw invalid(
      origin,
      'no user is set, and the operating system user of this process has no name. Add user=…, or set PGUSER',
    )
  }
}

/** What Supabase's pages print in the place of the password. */
const PLACEHOLDER = '[YOUR-PASSWORD]'

function passwordOf(given: Given): string | undefined {
  const password = given.read('password') || undefined
  if (password !== PLACEHOLDER) return password
  throw given.invalid('password', `expected the password; received the placeholder ${PLACEHOLDER}`)
}

function nameOf(given: string | undefined, hosts: readonly Host[], database: string): string {
  if (given) return given
  const places = hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  return `${places.join(',')}/${database}`
}

const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

function tlsOf(given: Given): TlsSettings {
  const { read } = given
  const rootCert = read('sslrootcert') || undefined
  const system = rootCert === 'system'
  const mode = oneOf<SslMode>(given, 'sslmode', system ? 'verify-full' : 'prefer', [
    'disable',
    'allow',
    'prefer',
    'require',
    'verify-ca',
    'verify-full',
    'no-verify',
  ])
  if (system && mode !== 'verify-full') {
    // Anyone can get a certificate of a public authority; only the host name identifies the server.
    throw invalid(
      given.origin,
      `sslrootcert=system${given.from('sslrootcert')} requires sslmode=verify-full, not ${mode}${given.from('sslmode')}`,
    )
  }
  const negotiation = oneOf(given, 'sslnegotiation', 'postgres', ['postgres', 'direct'])
  if (negotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(mode)) {
    throw invalid(
      given.origin,
      `sslnegotiation=direct${given.from('sslnegotiation')} requires sslmode=require or stricter, not ${mode}${given.from('sslmode')}`,
    )
  }
  const channelBinding = oneOf(given, 'channel_binding', 'prefer', ['disable', 'prefer', 'require'])
  if (channelBinding === 'require' && mode === 'disable') {
    throw invalid(
      given.origin,
      `channel_binding=require${given.from('channel_binding')} needs TLS, but sslmode is disable${given.from('sslmode')}. Set sslmode=require, or remove channel_binding`,
    )
  }
  const minVersion = oneOf(given, 'ssl_min_protocol_version', undefined, TLS_VERSIONS)
  const maxVersion = oneOf(given, 'ssl_max_protocol_version', undefined, TLS_VERSIONS)
  if (minVersion !== undefined && maxVersion !== undefined && minVersion > maxVersion) {
    throw invalid(
      given.origin,
      `ssl_min_protocol_version${given.from('ssl_min_protocol_version')} is higher than ssl_max_protocol_version${given.from('ssl_max_protocol_version')}`,
    )
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
        channelBinding,
        minVersion,
        maxVersion,
      },
      { password: read('sslpassword') || undefined },
    ),
  )
}

function weightOf(given: Given): number {
  const text = given.read('weight')
  if (text === undefined || text === '') return 1
  const weight = /^\d*\.?\d+$/.test(text) ? Number(text) : -1
  if (!(weight >= 0 && weight <= 1e6)) {
    throw given.invalid('weight', 'expected a number such as 2, or 0 for a server that is being drained')
  }
  return weight
}
