import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { parseConninfo } from '../../src/conninfo/conninfo.ts'
import { SessionPgsqlError } from '../../src/errors.ts'
import { poolConfigOf, secondAttemptOf } from '../../src/servers/node-postgres-config.ts'
import {
  binaries,
  type Certificates,
  hasOpenssl,
  makeCertificates,
  PASSWORD,
  startServer,
  type TlsServer,
} from '../support/tls-server.ts'

if (binaries === undefined)
  console.warn('SKIPPED: no PostgreSQL on this machine; TLS and password files are not tested')
else if (!hasOpenssl) console.warn('SKIPPED: no OpenSSL 3 on this machine; TLS is not tested')

const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-'))
afterAll(() => rmSync(folder, { recursive: true }))

// Isolates the tests from the files and variables of the user who runs them.
const { HOME } = process.env
const home = join(folder, 'home')
beforeEach(() => {
  mkdirSync(join(home, '.postgresql'), { recursive: true })
  process.env.HOME = home
})
afterEach(() => {
  rmSync(home, { recursive: true })
  process.env.HOME = HOME
})

const quoted = (value: string) => `'${value.replaceAll(/['\\]/g, '\\$&')}'`
const password = `password=${quoted(PASSWORD)}`

/** Connects. Returns whether the connection is encrypted, and its application name. */
async function connect(text: string): Promise<{ ssl: boolean; application: string }> {
  const conninfo = parseConninfo(text, {})
  const [host] = conninfo.hosts
  if (host === undefined) throw new Error('no host')
  const config = await poolConfigOf(conninfo, host, 1, 5)
  const pool = new pg.Pool(config satisfies pg.PoolConfig)
  try {
    const { rows } = await pool.query(
      "SELECT ssl, current_setting('application_name') AS application FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    )
    return rows[0]
  } finally {
    await pool.end()
  }
}

describe('poolConfigOf', () => {
  const configOf = (text: string) => {
    const conninfo = parseConninfo(text, {})
    return poolConfigOf(conninfo, conninfo.hosts[0] ?? expect.fail(), 7, 5)
  }

  test('sets every option that node-postgres would otherwise take from the environment', async () => {
    expect(await configOf('host=h port=1 user=u dbname=d sslmode=disable')).toEqual({
      host: 'h',
      port: 1,
      user: 'u',
      database: 'd',
      password: expect.any(Function),
      ssl: false,
      max: 7,
      connectionTimeoutMillis: 5000,
      keepAlive: true,
      application_name: 'session_pgsql',
    })
    vi.stubEnv('PGOPTIONS', '-c statement_timeout=1')
    try {
      expect(await configOf("host=h options=''")).toMatchObject({ options: ' ' })
    } finally {
      vi.unstubAllEnvs()
    }
    expect(
      await configOf(
        "host=h hostaddr=10.0.0.1 sslmode=disable connect_timeout=2 keepalives=0 keepalives_idle=30 application_name=a options='-c x=1'",
      ),
    ).toMatchObject({
      host: '10.0.0.1',
      connectionTimeoutMillis: 2000,
      keepAlive: false,
      keepAliveInitialDelayMillis: 30_000,
      application_name: 'a',
      options: '-c x=1',
    })
  })

  test('uses TLS in the first attempt with prefer, in the second with allow, and never on a Unix socket', async () => {
    const secondOf = (text: string) => {
      const conninfo = parseConninfo(text, {})
      return secondAttemptOf(conninfo, conninfo.hosts[0] ?? expect.fail())
    }
    expect((await configOf('host=h')).ssl).toBeTruthy()
    expect(await secondOf('host=h')).toBe(false)
    expect((await configOf('host=h sslmode=allow')).ssl).toBe(false)
    expect(await secondOf('host=h sslmode=allow')).toBeTruthy()
    for (const mode of ['disable', 'require', 'verify-ca', 'verify-full', 'no-verify']) {
      expect(await secondOf(`host=h sslmode=${mode}`)).toBeUndefined()
    }
    expect((await configOf('host=/tmp sslmode=require')).ssl).toBe(false)
    expect(await secondOf('host=/tmp')).toBeUndefined()
    expect((await configOf('host=h sslmode=require sslnegotiation=direct')).sslnegotiation).toBe('direct')
  })

  test('no printed form contains a password', async () => {
    const config = await configOf('host=h password=hunter2 sslpassword=swordfish')
    expect(await config.password()).toBe('hunter2')
    const pool = new pg.Pool(config)
    expect(inspect([config, pool], { depth: null }) + JSON.stringify(config)).not.toMatch(/hunter2|swordfish/)
    await pool.end()
  })

  test('the error names a configured file that does not exist', async () => {
    for (const keyword of ['sslrootcert', 'sslcert']) {
      await expect(configOf(`host=h sslmode=require ${keyword}=/nowhere`)).rejects.toThrow(
        `option db: ${keyword}: cannot read /nowhere (ENOENT)`,
      )
    }
    await expect(configOf('host=h sslmode=verify-ca')).rejects.toThrow(/root\.crt does not exist/)
    const config = await configOf('host=h sslrootcert=system')
    expect(config.ssl).toMatchObject({ rejectUnauthorized: true, servername: 'h' })
  })
})

describe.skipIf(binaries === undefined)('a server without TLS', () => {
  let server: TlsServer
  let base = ''
  beforeAll(async () => {
    server = await startServer(undefined)
    base = `host=localhost port=${server.port} user=postgres dbname=postgres`
  }, 60_000)
  afterAll(async () => server.stop())

  test('disable and allow connect', async () => {
    const plain = { ssl: false, application: 'session_pgsql' }
    expect(await connect(`${base} ${password} sslmode=disable`)).toEqual(plain)
    expect(await connect(`${base} ${password} sslmode=allow`)).toEqual(plain)
  })

  test.each(['require', 'verify-ca', 'verify-full'])('%s never connects without TLS', async (mode) => {
    const root = join(folder, 'any.crt')
    writeFileSync(root, '')
    await expect(connect(`${base} ${password} sslmode=${mode} sslrootcert=${root}`)).rejects.toThrow(
      'The server does not support SSL connections',
    )
  })

  test('connects through a Unix socket without TLS', async () => {
    const socket = `host=${server.socketFolder} port=${server.port} user=postgres dbname=postgres`
    expect(await connect(`${socket} ${password} sslmode=require`)).toMatchObject({ ssl: false })
  })

  describe('the password file', () => {
    const escaped = PASSWORD.replaceAll(/[:\\]/g, '\\$&')
    const write = (path: string, text: string, mode = 0o600) => {
      writeFileSync(path, text)
      chmodSync(path, mode)
      return path
    }

    test('gives the password: from passfile, PGPASSFILE or the home directory', async () => {
      const { port } = server
      const file = write(
        join(folder, 'pgpass'),
        `# comment\nlocalhost:1:*:*:wrong\nlocalhost:${port}:other:*:wrong\nlocalhost:${port}:postgres:postgres:${escaped}\n*:*:*:*:wrong\n`,
      )
      expect(await connect(`${base} sslmode=disable passfile=${file}`)).toMatchObject({ ssl: false })
      expect(parseConninfo(base, { PGPASSFILE: file }).passfile).toBe(file)
      write(join(home, '.pgpass'), `*:*:*:postgres:${escaped}\r\n`)
      expect(await connect(`${base} sslmode=disable`)).toMatchObject({ ssl: false })
      const socket = `host=${server.socketFolder} port=${port} user=postgres dbname=postgres`
      expect(await connect(`${socket} passfile=${file}`)).toMatchObject({ ssl: false })
    })

    test('uses the first matching line, and an explicit password before the file', async () => {
      const file = write(join(folder, 'pgpass'), `*:*:*:*:wrong\n*:*:*:*:${escaped}\n`)
      await expect(connect(`${base} sslmode=disable passfile=${file}`)).rejects.toMatchObject({
        code: '28P01',
      })
      expect(await connect(`${base} ${password} sslmode=disable passfile=${file}`)).toMatchObject({
        ssl: false,
      })
    })

    test('is read again for each connection', async () => {
      const file = write(join(folder, 'pgpass'), '*:*:*:*:wrong\n')
      const conninfo = parseConninfo(`${base} sslmode=disable passfile=${file}`, {})
      const pool = new pg.Pool(await poolConfigOf(conninfo, conninfo.hosts[0] ?? expect.fail(), 1, 5))
      await expect(pool.query('SELECT')).rejects.toMatchObject({ code: '28P01' })
      write(file, `*:*:*:*:${escaped}\n`)
      expect((await pool.query('SELECT')).rowCount).toBe(1)
      await pool.end()
    })

    test('is rejected by name if other users can read it', async () => {
      const file = write(join(folder, 'pgpass'), `*:*:*:*:${escaped}\n`, 0o640)
      const error = await connect(`${base} sslmode=disable passfile=${file}`).catch(
        (reason: unknown) => reason,
      )
      expect(error).toBeInstanceOf(SessionPgsqlError)
      expect(error).toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining(`chmod 600 ${file}`),
      })
    })

    test('without a password, the error names the places where it was looked for', async () => {
      await expect(connect(`${base} sslmode=disable`)).rejects.toThrow(
        /requires a password.*user postgres and database postgres in .*\.pgpass$/,
      )
    })
  })
})

describe.skipIf(binaries === undefined || !hasOpenssl)('a server with TLS', () => {
  let server: TlsServer
  let files: Certificates
  let base = ''
  beforeAll(async () => {
    const certificates = join(folder, 'certificates')
    mkdirSync(certificates)
    files = makeCertificates(certificates, 'DNS:db.example,DNS:localhost')
    server = await startServer(files)
    base = `port=${server.port} user=postgres dbname=postgres ${password}`
  }, 60_000)
  afterAll(async () => server.stop())

  /** The address is right in both cases; the host name to verify differs. */
  const right = 'host=db.example hostaddr=127.0.0.1'
  const wrong = 'host=evil.example hostaddr=127.0.0.1'
  const secure = { ssl: true }

  /** Returns the error code of OpenSSL or Node, or `true` for an encrypted connection. */
  async function outcome(text: string): Promise<unknown> {
    try {
      return (await connect(`${base} ${text}`)).ssl
    } catch (error) {
      return (error as NodeJS.ErrnoException).code
    }
  }
  const UNTRUSTED = 'SELF_SIGNED_CERT_IN_CHAIN'
  const OTHER_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'

  test.each([
    ['disable', false, false, false, false],
    ['allow', false, false, false, false],
    ['prefer', true, true, UNTRUSTED, true],
    ['require', true, true, UNTRUSTED, true],
    ['verify-ca', 'INVALID_OPTION', true, UNTRUSTED, true],
    ['verify-full', 'INVALID_OPTION', true, UNTRUSTED, OTHER_NAME],
  ])(
    '%s: no root %s, right root %s, wrong root %s, wrong host name %s',
    async (mode, none, ours, other, name) => {
      expect(await outcome(`${right} sslmode=${mode}`)).toBe(none)
      expect(await outcome(`${right} sslmode=${mode} sslrootcert=${files.ca}`)).toBe(ours)
      expect(await outcome(`${right} sslmode=${mode} sslrootcert=${files.otherCa}`)).toBe(other)
      expect(await outcome(`${wrong} sslmode=${mode} sslrootcert=${files.ca}`)).toBe(name)
    },
  )

  test('verify-full verifies the host without hostaddr, and an IP address as a name of its own', async () => {
    expect(await outcome(`host=localhost sslmode=verify-full sslrootcert=${files.ca}`)).toBe(true)
    expect(await outcome(`host=127.0.0.1 sslmode=verify-full sslrootcert=${files.ca}`)).toBe(OTHER_NAME)
    expect(await outcome(`host=127.0.0.1 sslmode=verify-ca sslrootcert=${files.ca}`)).toBe(true)
  })

  test('sslrootcert=system does not trust a private authority', async () => {
    expect(await outcome(`${right} sslrootcert=system`)).toBe(UNTRUSTED)
  })

  test('a root.crt in the home directory turns require into verify-ca', async () => {
    const root = join(home, '.postgresql', 'root.crt')
    copyFileSync(files.otherCa, root)
    expect(await outcome(`${right} sslmode=require`)).toBe(UNTRUSTED)
    copyFileSync(files.ca, root)
    expect(await outcome(`${wrong} sslmode=require`)).toBe(true)
    expect(await outcome(`${right} sslmode=verify-full`)).toBe(true)
  })

  test('rejects a revoked certificate', async () => {
    expect(await outcome(`${right} sslmode=verify-ca sslrootcert=${files.ca} sslcrl=${files.crl}`)).toBe(
      'CERT_REVOKED',
    )
  })

  test('respects the lowest and highest TLS version', async () => {
    expect(await outcome(`${right} sslmode=require ssl_min_protocol_version=TLSv1.3`)).toBe(true)
    expect(await outcome(`${right} sslmode=require ssl_max_protocol_version=TLSv1.1`)).not.toBe(true)
  })

  describe('with a client certificate', () => {
    const asCert = () => `host=localhost port=${server.port} user=cert dbname=postgres sslmode=require`
    const trial = async (text: string) => {
      try {
        await connect(`${asCert()} ${text}`)
        return true
      } catch (error) {
        return error as Error & { code: string }
      }
    }
    // The role does not exist, which the server reports only after accepting the certificate.
    const ACCEPTED = { code: '28000', message: 'role "cert" does not exist' }

    test('the server accepts only clients that present it', async () => {
      const { clientCert, clientKey } = files
      expect(await trial(`sslcert=${clientCert} sslkey=${clientKey}`)).toMatchObject(ACCEPTED)
      expect(await trial('')).toMatchObject({ message: expect.stringContaining('client certificate') })
      const shown = await connect(
        `host=localhost ${base} sslmode=require sslcert=${clientCert} sslkey=${clientKey}`,
      )
      expect(shown).toMatchObject(secure)
    })

    test('is found in the home directory', async () => {
      copyFileSync(files.clientCert, join(home, '.postgresql', 'postgresql.crt'))
      copyFileSync(files.clientKey, join(home, '.postgresql', 'postgresql.key'))
      expect(await trial('')).toMatchObject(ACCEPTED)
    })

    test('may have an encrypted key', async () => {
      const encrypted = `sslcert=${files.clientCert} sslkey=${files.clientKeyEncrypted}`
      expect(await trial(`${encrypted} sslpassword=${quoted(PASSWORD)}`)).toMatchObject(ACCEPTED)
      const error = await trial(`${encrypted} sslpassword=hunter2`)
      expect(error).toMatchObject({ code: 'INVALID_OPTION', message: expect.stringMatching(/sslpassword/) })
      expect(inspect(error, { depth: null })).not.toContain('hunter2')
    })

    test('rejects a key that other users can read', async () => {
      const key = join(folder, 'open.key')
      copyFileSync(files.clientKey, key)
      chmodSync(key, 0o644)
      expect(await trial(`sslcert=${files.clientCert} sslkey=${key}`)).toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining(`chmod 600 ${key}`),
      })
    })
  })
})
