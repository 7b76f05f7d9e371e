import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

/**
 * A PostgreSQL server of the machine's own installation, with or without TLS, and the certificates for it. For
 * the tests of TLS and of password files alone.
 */
export interface TlsServer {
  readonly port: number
  /** The folder of its socket. */
  readonly socketFolder: string
  stop(): Promise<void>
}

/** The one password of its users `postgres` (by password) and `cert` (by certificate). */
export const PASSWORD = 'se:cr\\et 1'

/** Where initdb and postgres are, or undefined. */
export const binaries: string | undefined = [
  ...(process.env.PATH ?? '').split(delimiter),
  ...folders('/usr/lib/postgresql').map((version) => `/usr/lib/postgresql/${version}/bin`),
].find((folder) => existsSync(join(folder, 'initdb')))

/** LibreSSL and OpenSSL 1 cannot issue certificates in one step. */
export const hasOpenssl: boolean = /^OpenSSL ([3-9]|\d\d)/.test(
  spawnSync('openssl', ['version'], { encoding: 'utf8' }).stdout ?? '',
)

function folders(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : []
}

/** PostgreSQL refuses to run as root; then `nobody` runs it. */
function owner(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(spawnSync('id', [flag, 'nobody'], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}

export interface Certificates {
  readonly folder: string
  /** The authority that signed the server's and the client's certificate, and one that did not. */
  readonly ca: string
  readonly otherCa: string
  /** The certificate of the client `cert`; its key, and the key encrypted with PASSWORD. */
  readonly clientCert: string
  readonly clientKey: string
  readonly clientKeyEncrypted: string
  /** Revokes the server's certificate. */
  readonly crl: string
}

/** @param serverNames what the server's certificate says, such as `DNS:localhost` */
export function makeCertificates(folder: string, serverNames: string): Certificates {
  const at = (name: string) => join(folder, name)
  const openssl = (...parameters: string[]) => {
    const run = spawnSync('openssl', parameters, { cwd: folder, encoding: 'utf8' })
    if (run.status !== 0) throw new Error(`openssl ${parameters.join(' ')}: ${run.stderr}`)
  }
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  for (const name of ['ca', 'other-ca']) {
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-subj',
      `/CN=${name}`,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.crt`),
    )
  }
  const issue = (name: string, subject: string, extension: string[]) =>
    openssl(
      ...['req', '-x509', '-CA', at('ca.crt'), '-CAkey', at('ca.key'), ...newKey, '-subj', subject],
      ...['-addext', 'basicConstraints=CA:FALSE', ...extension],
      ...['-keyout', at(`${name}.key`), '-out', at(`${name}.crt`)],
    )
  issue('server', '/CN=server', ['-addext', `subjectAltName=${serverNames}`])
  issue('client', '/CN=cert', [])
  openssl(
    'ec',
    '-aes256',
    '-passout',
    `pass:${PASSWORD}`,
    '-in',
    at('client.key'),
    '-out',
    at('client-encrypted.key'),
  )
  for (const key of ['client.key', 'client-encrypted.key']) chmodSync(at(key), 0o600)
  writeFileSync(at('index.txt'), '')
  writeFileSync(
    at('ca.cnf'),
    `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index.txt')}\ndefault_md=sha256\ndefault_crl_days=2\n`,
  )
  const authority = ['-config', at('ca.cnf'), '-cert', at('ca.crt'), '-keyfile', at('ca.key')]
  openssl('ca', ...authority, '-revoke', at('server.crt'))
  openssl('ca', ...authority, '-gencrl', '-out', at('revoked.crl'))
  return {
    folder,
    ca: at('ca.crt'),
    otherCa: at('other-ca.crt'),
    clientCert: at('client.crt'),
    clientKey: at('client.key'),
    clientKeyEncrypted: at('client-encrypted.key'),
    crl: at('revoked.crl'),
  }
}

/**
 * @param certificates undefined: a server without TLS
 * @param rules lines that come first in pg_hba.conf
 */
export async function startServer(
  certificates: Certificates | undefined,
  rules: readonly string[] = [],
): Promise<TlsServer> {
  if (binaries === undefined) throw new Error('no PostgreSQL on this machine')
  const as = owner()
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-'))
  const data = join(folder, 'data')
  writeFileSync(join(folder, 'password'), PASSWORD)
  for (const path of [folder, join(folder, 'password')]) if (as) chownSync(path, as.uid, as.gid)
  const options = { ...as, cwd: folder, encoding: 'utf8' } as const
  const initdb = spawnSync(
    join(binaries, 'initdb'),
    [
      '-D',
      data,
      '-U',
      'postgres',
      '-A',
      'scram-sha-256',
      `--pwfile=${join(folder, 'password')}`,
      '--no-sync',
    ],
    options,
  )
  if (initdb.status !== 0) throw new Error(`initdb: ${initdb.stderr}`)
  if (certificates !== undefined) {
    for (const name of ['server.crt', 'server.key', 'ca.crt']) {
      const path = join(data, name)
      writeFileSync(path, readFileSync(join(certificates.folder, name)), { mode: 0o600 })
      if (as) chownSync(path, as.uid, as.gid)
    }
    appendFileSync(join(data, 'postgresql.conf'), "\nssl = on\nssl_ca_file = 'ca.crt'\n")
  }
  const hba = join(data, 'pg_hba.conf')
  const first = certificates === undefined ? rules : ['hostssl all cert all cert', ...rules]
  writeFileSync(hba, `${first.join('\n')}\n${readFileSync(hba, 'utf8')}`)
  const port = await freePort()
  const server = spawn(
    join(binaries, 'postgres'),
    ['-D', data, '-p', String(port), '-k', folder, '-c', 'fsync=off', '-c', 'listen_addresses=localhost'],
    { ...as, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  try {
    await ready(server)
  } catch (error) {
    await stop(server, folder)
    throw error
  }
  return { port, socketFolder: folder, stop: () => stop(server, folder) }
}

async function ready(server: ChildProcess): Promise<void> {
  let log = ''
  const exit = once(server, 'exit').then(() => {
    throw new Error(`postgres ended: ${log}`)
  })
  const listening = new Promise<void>((resolve) => {
    server.stderr?.on('data', (chunk) => {
      log += chunk
      if (log.includes('ready to accept connections')) resolve()
    })
  })
  await Promise.race([listening, exit])
  exit.catch(() => {})
}

async function stop(server: ChildProcess, folder: string): Promise<void> {
  if (server.exitCode === null) {
    const exit = once(server, 'exit')
    server.kill('SIGINT')
    await exit
  }
  rmSync(folder, { recursive: true, force: true })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, 'localhost')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
