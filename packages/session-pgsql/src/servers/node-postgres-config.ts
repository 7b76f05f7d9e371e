import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as tls from 'node:tls'
import type { Conninfo, Host, TlsSettings } from '../conninfo/conninfo.ts'
import { homeFolder } from '../conninfo/home-folder.ts'
import { defaultPassfile, passwordFromFile } from '../conninfo/passfile.ts'
import type { NodePostgresConfig, NodePostgresTls } from '../database/drivers.ts'
import { SessionPgsqlError } from '../errors.ts'

/**
 * What node-postgres needs to know for one host of a conninfo. Everything is said explicitly, for node-postgres
 * reads what is left out from its own environment variables, with its own idea of `sslmode`.
 *
 * @param poolSize connections at most
 * @param connectTimeoutSeconds the caller's own limit; the conninfo's counts if it is shorter
 * @param encrypted for `prefer` and `allow`, which are two attempts made by the caller: whether this is the one
 *   with TLS. Left out: the first of the two. The other modes leave no choice.
 */
export async function poolConfigOf(
  conninfo: Conninfo,
  host: Pick<Host, 'host' | 'port'> & Partial<Host>,
  poolSize: number,
  connectTimeoutSeconds: number,
  encrypted: boolean = conninfo.tls.mode !== 'allow',
): Promise<NodePostgresConfig> {
  const config: NodePostgresConfig = {
    host: host.address ?? host.host,
    port: host.port,
    user: conninfo.user,
    database: conninfo.database,
    password: () => passwordFor(conninfo, host),
    ssl: usesTls(conninfo.tls, host.host, encrypted) ? await tlsOf(conninfo.tls, host.host) : false,
    max: poolSize,
    connectionTimeoutMillis: 1000 * Math.min(connectTimeoutSeconds, conninfo.connectTimeout ?? Infinity),
    keepAlive: conninfo.keepalives,
    application_name: conninfo.applicationName ?? 'session_pgsql',
  }
  // PgBouncer refuses whoever sends any, be it a blank. That is for the one case in which node-postgres would take
  // PGOPTIONS although the conninfo says that there are none.
  const options = conninfo.options ?? (process.env.PGOPTIONS ? ' ' : undefined)
  if (options !== undefined) config.options = options
  if (config.ssl !== false && conninfo.tls.negotiation === 'direct') config.sslnegotiation = 'direct'
  if (conninfo.keepalivesIdle !== undefined)
    config.keepAliveInitialDelayMillis = conninfo.keepalivesIdle * 1000
  return config
}

/** Whether the server answered that it has no TLS: with `prefer`, time for the attempt without it. */
export function isTlsRefused(error: unknown): boolean {
  // node-postgres gives it no code.
  return error instanceof Error && error.message === 'The server does not support SSL connections'
}

async function passwordFor(conninfo: Conninfo, host: Pick<Host, 'host' | 'port'>): Promise<string> {
  if (conninfo.password !== undefined) return conninfo.password
  const { user, database } = conninfo
  const path = conninfo.passfile ?? defaultPassfile()
  const password = await passwordFromFile(path, { host: host.host, port: host.port, database, user })
  if (password !== undefined) return password
  throw new SessionPgsqlError(
    'INVALID_OPTION',
    `the server ${host.host}:${host.port} asks for a password, and there is none: neither in db, nor in PGPASSWORD, nor for user ${user} and database ${database} in ${path}`,
  )
}

function usesTls({ mode }: TlsSettings, host: string, encrypted: boolean): boolean {
  // A socket does not leave the machine; libpq ignores sslmode there.
  if (mode === 'disable' || host.startsWith('/')) return false
  return mode === 'prefer' || mode === 'allow' ? encrypted : true
}

async function tlsOf(settings: TlsSettings, host: string): Promise<NodePostgresTls> {
  const authorities = await authoritiesOf(settings)
  const verify = authorities !== undefined
  const crl = verify ? await fileOrDefault('sslcrl', settings.crl, 'root.crl') : undefined
  const cert = await fileOrDefault('sslcert', settings.cert, 'postgresql.crt')
  const key = cert === undefined ? undefined : await keyOf(settings)
  return {
    secureContext: secureContext({
      ...(authorities && { ca: authorities }),
      ...(crl && { crl }),
      ...(cert && key && { cert, key }),
      ...(settings.password !== undefined && { passphrase: settings.password }),
      ...(settings.minVersion && { minVersion: settings.minVersion }),
      ...(settings.maxVersion && { maxVersion: settings.maxVersion }),
    }),
    rejectUnauthorized: verify,
    // Not an address: it must not be sent as the name of a server (RFC 6066).
    ...(isIP(host) === 0 && { servername: host }),
    // By the host that was asked for, whatever address `hostaddr` leads to.
    checkServerIdentity: (_, certificate) =>
      settings.mode === 'verify-full' ? tls.checkServerIdentity(host, certificate) : undefined,
  }
}

/** Whom to trust; undefined: the chain is not checked. */
async function authoritiesOf(settings: TlsSettings): Promise<string | readonly string[] | undefined> {
  if (settings.rootCert === 'system') return systemAuthorities()
  const file = await fileOrDefault('sslrootcert', settings.rootCert, 'root.crt')
  if (file === undefined && settings.mode.startsWith('verify-')) {
    throw invalid(
      `sslmode=${settings.mode} needs a file with the authorities to trust: there is no ${userFile('root.crt')}. Name one with sslrootcert, or write sslrootcert=system`,
    )
  }
  // With a file at hand, libpq checks the chain even where the mode does not ask for it, and so do we.
  return file
}

/** Those of the operating system where Node can read them (22.15), otherwise those that came with Node. */
function systemAuthorities(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'system') => string[] }
  const found = getCACertificates?.('system') ?? []
  return found.length > 0 ? found : tls.rootCertificates
}

async function keyOf(settings: TlsSettings): Promise<string> {
  const path = settings.key ?? userFile('postgresql.key')
  const key = await readNamed('sslkey', path)
  const { mode, uid } = await stat(path)
  // libpq: its group may read a key of root's.
  if (process.platform !== 'win32' && (mode & (uid === 0 ? 0o037 : 0o077)) !== 0) {
    throw invalid(`sslkey: ${path} can be read by others, so it is not used. Mend it with: chmod 600 ${path}`)
  }
  return key
}

async function fileOrDefault(
  keyword: string,
  given: string | undefined,
  name: string,
): Promise<string | undefined> {
  if (given !== undefined) return await readNamed(keyword, given)
  try {
    return await readFile(userFile(name), 'utf8')
  } catch {
    return undefined
  }
}

async function readNamed(keyword: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw invalid(`${keyword}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

function secureContext(options: Record<string, unknown>): tls.SecureContext {
  try {
    return tls.createSecureContext(options)
  } catch (error) {
    // OpenSSL's reason names neither key nor password.
    throw invalid(
      `sslrootcert, sslcrl, sslcert or sslkey cannot be used: ${(error as Error).message}. Is sslpassword right, and does the key belong to the certificate?`,
    )
  }
}

/** Where libpq keeps a user's files. */
function userFile(name: string): string {
  return process.platform === 'win32'
    ? join(process.env.APPDATA ?? homeFolder(), 'postgresql', name)
    : join(homeFolder(), '.postgresql', name)
}

function invalid(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', `db: ${message}`)
}
