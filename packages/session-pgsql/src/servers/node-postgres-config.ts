import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as tls from 'node:tls'
import type { Conninfo, Host, TlsSettings } from '../conninfo/conninfo.ts'
import { homeFolder } from '../conninfo/home-folder.ts'
import { defaultPassfile, passwordFromFile } from '../conninfo/passfile.ts'
import { invalid } from '../conninfo/syntax.ts'
import type { NodePostgresConfig, NodePostgresTls } from '../database/drivers.ts'

/**
 * Returns the configuration of node-postgres for one host of a conninfo. Sets every option explicitly, because
 * node-postgres takes missing ones from environment variables, with its own interpretation of `sslmode`.
 *
 * @param poolSize the most connections
 * @param connectTimeoutSeconds the caller's limit; the conninfo's applies if it is shorter
 * @returns with `sslmode` `prefer` and `allow` the configuration of the first attempt; see `secondAttemptOf`
 */
export async function poolConfigOf(
  conninfo: Conninfo,
  host: Pick<Host, 'host' | 'port'> & Partial<Host>,
  poolSize: number,
  connectTimeoutSeconds: number,
): Promise<NodePostgresConfig> {
  const config: NodePostgresConfig = {
    host: host.address ?? host.host,
    port: host.port,
    user: conninfo.user,
    database: conninfo.database,
    password: () => passwordFor(conninfo, host),
    ssl: startsWithTls(conninfo.tls, host) ? await tlsOf(conninfo, host.host) : false,
    max: poolSize,
    connectionTimeoutMillis: 1000 * Math.min(connectTimeoutSeconds, conninfo.connectTimeout ?? Infinity),
    keepAlive: conninfo.keepalives,
    application_name: conninfo.applicationName ?? 'session_pgsql',
  }
  // PgBouncer rejects clients that send any options, even a blank. The blank is only for the case in which
  // node-postgres would use PGOPTIONS although the conninfo has no options.
  const options = conninfo.options ?? (process.env.PGOPTIONS ? ' ' : undefined)
  if (options !== undefined) config.options = options
  if (config.ssl !== false && conninfo.tls.negotiation === 'direct') config.sslnegotiation = 'direct'
  if (conninfo.keepalivesIdle !== undefined)
    config.keepAliveInitialDelayMillis = conninfo.keepalivesIdle * 1000
  return config
}

/**
 * Returns the option `ssl` of node-postgres for a second attempt to connect: without TLS for `sslmode=prefer`, with
 * TLS for `allow`. Undefined for the other modes, and for Unix sockets: they make one attempt.
 */
export async function secondAttemptOf(
  conninfo: Conninfo,
  host: Pick<Host, 'host'>,
): Promise<NodePostgresConfig['ssl'] | undefined> {
  if (isUnixSocket(host)) return undefined
  const { mode } = conninfo.tls
  if (mode === 'prefer') return false
  return mode === 'allow' ? await tlsOf(conninfo, host.host) : undefined
}

async function passwordFor(conninfo: Conninfo, host: Pick<Host, 'host' | 'port'>): Promise<string> {
  if (conninfo.password !== undefined) return conninfo.password
  const { user, database } = conninfo
  const path = conninfo.passfile ?? defaultPassfile()
  const wanted = { host: host.host, port: host.port, database, user }
  const password = await passwordFromFile(path, wanted, conninfo.originOf('passfile'))
  if (password !== undefined) return password
  throw invalid(
    conninfo.originOf('password'),
    `the server ${host.host}:${host.port} requires a password, but none is set: not here, not in PGPASSWORD, and not for user ${user} and database ${database} in ${path}`,
  )
}

function startsWithTls({ mode }: TlsSettings, host: Pick<Host, 'host'>): boolean {
  return mode !== 'disable' && mode !== 'allow' && !isUnixSocket(host)
}

/** Unix sockets do not leave the machine; libpq ignores sslmode for them. */
function isUnixSocket({ host }: Pick<Host, 'host'>): boolean {
  return host.startsWith('/')
}

async function tlsOf(conninfo: Conninfo, host: string): Promise<NodePostgresTls> {
  const { tls: settings } = conninfo
  const authorities = await authoritiesOf(conninfo)
  const verify = authorities !== undefined
  const crl = verify ? await fileOrDefault(conninfo, 'sslcrl', settings.crl, 'root.crl') : undefined
  const cert = await fileOrDefault(conninfo, 'sslcert', settings.cert, 'postgresql.crt')
  const key = cert === undefined ? undefined : await keyOf(conninfo)
  return {
    secureContext: secureContext(conninfo, {
      ...(authorities && { ca: authorities }),
      ...(crl && { crl }),
      ...(cert && key && { cert, key }),
      ...(settings.password !== undefined && { passphrase: settings.password }),
      ...(settings.minVersion && { minVersion: settings.minVersion }),
      ...(settings.maxVersion && { maxVersion: settings.maxVersion }),
    }),
    rejectUnauthorized: verify,
    // RFC 6066 forbids an IP address as server name.
    ...(isIP(host) === 0 && { servername: host }),
    // Verifies the name of `host`, whatever address `hostaddr` gives.
    checkServerIdentity: (_, certificate) =>
      settings.mode === 'verify-full' ? tls.checkServerIdentity(host, certificate) : undefined,
  }
}

/** Returns the certificate authorities to trust; undefined if the chain is not verified. */
async function authoritiesOf(conninfo: Conninfo): Promise<string | readonly string[] | undefined> {
  const { mode, rootCert } = conninfo.tls
  if (mode === 'no-verify') return undefined
  if (rootCert === 'system') return systemAuthorities()
  const file = await fileOrDefault(conninfo, 'sslrootcert', rootCert, 'root.crt')
  if (file === undefined && mode.startsWith('verify-')) {
    throw invalid(
      conninfo.originOf('sslmode'),
      `sslmode=${mode} needs a file of trusted certificate authorities, but ${userFile('root.crt')} does not exist. Set sslrootcert to a file, or to system`,
    )
  }
  // As in libpq, an existing file makes the chain be verified even if the mode does not require it.
  return file
}

/** Returns the authorities of the operating system if Node can read them (from 22.15), otherwise those bundled with Node. */
function systemAuthorities(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'system') => string[] }
  const found = getCACertificates?.('system') ?? []
  return found.length > 0 ? found : tls.rootCertificates
}

async function keyOf(conninfo: Conninfo): Promise<string> {
  const path = conninfo.tls.key ?? userFile('postgresql.key')
  const key = await readNamed(conninfo, 'sslkey', path)
  // The comment in the call keeps `next build` from adding the application's whole folder to its output.
  const { mode, uid } = await stat(/*turbopackIgnore: true*/ path)
  // As in libpq, the group may read a key that is owned by root.
  if (process.platform !== 'win32' && (mode & (uid === 0 ? 0o037 : 0o077)) !== 0) {
    throw invalid(
      conninfo.originOf('sslkey'),
      `sslkey: ${path} is accessible to other users, so it is not used. Fix it with: chmod 600 ${path}`,
    )
  }
  return key
}

async function fileOrDefault(
  conninfo: Conninfo,
  keyword: string,
  given: string | undefined,
  name: string,
): Promise<string | undefined> {
  if (given !== undefined) return await readNamed(conninfo, keyword, given)
  try {
    return await readFile(userFile(name), 'utf8')
  } catch {
    return undefined
  }
}

async function readNamed(conninfo: Conninfo, keyword: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw invalid(
      conninfo.originOf(keyword),
      `${keyword}: cannot read ${path} (${(error as NodeJS.ErrnoException).code})`,
    )
  }
}

function secureContext(conninfo: Conninfo, options: Record<string, unknown>): tls.SecureContext {
  try {
    return tls.createSecureContext(options)
  } catch (error) {
    // OpenSSL's message contains neither key nor password.
    throw invalid(
      conninfo.originOf('sslcert'),
      `cannot use sslrootcert, sslcrl, sslcert or sslkey: ${(error as Error).message}. Check sslpassword, and that the key belongs to the certificate`,
    )
  }
}

/** Returns the path of one of libpq's per-user files. */
function userFile(name: string): string {
  return process.platform === 'win32'
    ? join(process.env.APPDATA ?? homeFolder(), 'postgresql', name)
    : join(homeFolder(), '.postgresql', name)
}
