import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tls from 'node:tls'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parseConninfo } from '../../src/conninfo/conninfo.ts'
import { plain } from '../../src/database/database.ts'
import { HostDatabase } from '../../src/servers/host.ts'
import {
  binaries,
  type Certificates,
  hasOpenssl,
  makeCertificates,
  PASSWORD,
  startServer,
  type TlsServer,
} from '../support/tls-server.ts'
import { eventually } from '../support/wait.ts'

if (binaries === undefined || !hasOpenssl)
  console.warn('SKIPPED: no PostgreSQL or no OpenSSL 3 on this machine; the choice of TLS is not tested')

const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-'))
afterAll(() => rmSync(folder, { recursive: true }))

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const deadline = () => performance.now() + 20_000

function open(text: string, poolSize = 1): HostDatabase {
  const conninfo = parseConninfo(`dbname=postgres ${text}`, {})
  const [host] = conninfo.hosts
  if (host === undefined) throw new Error('no host')
  const database = new HostDatabase(conninfo, host, { poolSize, operationTimeout: 20 }, undefined)
  closing.push(() => database.close())
  return database
}

const OWN = plain('SELECT pid, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')

/** Returns whether the connection in use is encrypted, and its backend. */
async function connection(database: HostDatabase): Promise<{ ssl: boolean; pid: number }> {
  const [row] = await database.query(OWN, [], deadline())
  return { ssl: row?.[1] === 't', pid: Number(row?.[0]) }
}

const quoted = `'${PASSWORD.replaceAll(/['\\]/g, '\\$&')}'`

/** Accepts connections on a port that it returns, and opens one to the server for each. */
async function startBetween(
  port: number,
  connected: (client: Socket, upstream: Socket) => void,
): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = new Socket()
    upstream.connect(port, 'localhost')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    connected(client, upstream)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}

/** An attacker between client and server, who answers as many requests for TLS with a refusal as `strip` says. */
async function startStripper(port: number): Promise<{ readonly port: number; strip: number }> {
  const state = { port: 0, strip: 0 }
  state.port = await startBetween(port, (client, upstream) => {
    client.once('data', (request) => {
      if (state.strip > 0) {
        state.strip--
        client.write('N')
      } else {
        upstream.write(request)
      }
      client.pipe(upstream).pipe(client)
    })
  })
  return state
}

/** An attacker with a certificate of its own, who decrypts what passes. */
async function startEavesdropper(port: number, files: Certificates): Promise<number> {
  const secureContext = tls.createSecureContext({
    cert: readFileSync(files.clientCert),
    key: readFileSync(files.clientKey),
  })
  return startBetween(port, (client, upstream) => {
    client.once('data', (request) => {
      upstream.write(request)
      upstream.once('data', () => {
        client.write('S')
        const seen = new tls.TLSSocket(client, { isServer: true, secureContext })
        const sent = tls.connect({ socket: upstream, rejectUnauthorized: false })
        for (const socket of [seen, sent]) socket.on('error', () => {})
        seen.pipe(sent).pipe(seen)
      })
    })
  })
}

describe.skipIf(binaries === undefined || !hasOpenssl)('a server with TLS', () => {
  let server: TlsServer
  let admin: pg.Client
  let files: Certificates
  beforeAll(async () => {
    const certificates = join(folder, 'certificates')
    mkdirSync(certificates)
    files = makeCertificates(certificates, 'DNS:localhost')
    server = await startServer(files, [
      'hostssl all by_trust all trust',
      'hostssl all by_password all password',
      'hostssl all by_md5 all md5',
      'hostssl all only_tls all scram-sha-256',
      'hostnossl all only_plain all scram-sha-256',
      'host all only_tls,only_plain,nowhere all reject',
    ])
    admin = new pg.Client({
      host: 'localhost',
      port: server.port,
      user: 'postgres',
      database: 'postgres',
      password: PASSWORD,
    })
    await admin.connect()
    for (const role of ['only_tls', 'only_plain']) {
      await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD ${pg.escapeLiteral(PASSWORD)}`)
    }
    await admin.query("SET password_encryption = 'md5'")
    for (const role of ['by_trust', 'by_password', 'by_md5']) {
      await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD ${pg.escapeLiteral(PASSWORD)}`)
    }
  }, 60_000)
  afterAll(async () => {
    await admin?.end()
    await server?.stop()
  })

  const as = (user: string, port = server.port) =>
    `host=localhost port=${port} user=${user} password=${quoted}`

  test('with prefer, a refusal of TLS concerns one connection: the next one is encrypted', async () => {
    const stripper = await startStripper(server.port)
    const database = open(as('postgres', stripper.port))
    stripper.strip = 1
    const first = await connection(database)
    expect([first.ssl, stripper.strip]).toEqual([false, 0])
    await admin.query('SELECT pg_terminate_backend($1)', [first.pid])
    await eventually(async () => expect((await connection(database)).pid).not.toBe(first.pid))
    expect((await connection(database)).ssl).toBe(true)
  })

  test('with prefer, one stripped answer of eight gives one connection without TLS', async () => {
    const stripper = await startStripper(server.port)
    const database = open(as('postgres', stripper.port), 8)
    stripper.strip = 1
    const SLOW = plain('SELECT ssl FROM pg_stat_ssl, pg_sleep(0.3) WHERE pid = pg_backend_pid()')
    const rows = await Promise.all(Array.from({ length: 8 }, () => database.query(SLOW, [], deadline())))
    expect(stripper.strip).toBe(0)
    const { rows: connections } = await admin.query(
      "SELECT ssl, count(*)::int FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'session_pgsql' GROUP BY ssl ORDER BY ssl",
    )
    expect(connections).toEqual([
      { ssl: false, count: 1 },
      { ssl: true, count: 7 },
    ])
    expect(rows.flat().some(([ssl]) => ssl === 't')).toBe(true)
  })

  test('prefer connects without TLS if pg_hba.conf accepts nothing else', async () => {
    expect((await connection(open(as('only_plain')))).ssl).toBe(false)
  })

  test('allow connects with TLS only if pg_hba.conf accepts nothing else', async () => {
    expect((await connection(open(`${as('only_tls')} sslmode=allow`))).ssl).toBe(true)
    expect((await connection(open(`${as('postgres')} sslmode=allow`))).ssl).toBe(false)
  })

  test('no other mode makes a second attempt', async () => {
    for (const [user, mode] of [
      ['only_plain', 'require'],
      ['only_tls', 'disable'],
    ] as const) {
      await expect(connection(open(`${as(user)} sslmode=${mode}`))).rejects.toMatchObject({
        code: 'DATABASE',
        sqlState: '28000',
      })
    }
  })

  test('if both attempts are rejected, the error has both reasons', async () => {
    const error = await connection(open(as('nowhere'))).catch((reason) => reason)
    expect(error).toMatchObject({ code: 'DATABASE', sqlState: '28000' })
    expect(error.message).toMatch(/SSL encryption; without TLS: .*no encryption/)
  })

  describe('with channel_binding=require', () => {
    const bound = (user: string, port?: number) =>
      open(`${as(user, port)} sslmode=require channel_binding=require`)

    test('connects to a server that authenticates by SCRAM', async () => {
      expect((await connection(bound('postgres'))).ssl).toBe(true)
    })

    test('refuses a server in between, which sslmode=require alone does not notice', async () => {
      const between = await startEavesdropper(server.port, files)
      expect((await connection(open(`${as('postgres', between)} sslmode=require`))).ssl).toBe(true)
      await expect(connection(bound('postgres', between))).rejects.toThrow(/channel binding check failed/)
    })

    test.each(['by_password', 'by_md5', 'by_trust'])(
      'refuses a server that authenticates %s',
      async (role) => {
        expect((await connection(open(`${as(role)} sslmode=require`))).ssl).toBe(true)
        await expect(connection(bound(role))).rejects.toMatchObject({
          code: 'INVALID_OPTION',
          message: expect.stringMatching(
            /^option db: channel_binding=require: .*localhost:\d+ .*SCRAM-SHA-256-PLUS.*Remove channel_binding/,
          ),
        })
      },
    )

    test('makes no connection without TLS', async () => {
      const stripper = await startStripper(server.port)
      stripper.strip = 1
      await expect(
        connection(open(`${as('postgres', stripper.port)} channel_binding=require`)),
      ).rejects.toMatchObject({ code: 'INVALID_OPTION' })
      expect((await connection(open(`${as('postgres')} channel_binding=require`))).ssl).toBe(true)
    })
  })

  test('no-verify needs TLS and no authority', async () => {
    const other = `sslmode=no-verify sslrootcert=${files.otherCa}`
    expect((await connection(open(`${as('postgres')} ${other}`))).ssl).toBe(true)
    await expect(connection(open(`${as('only_plain')} ${other}`))).rejects.toMatchObject({
      sqlState: '28000',
    })
  })

  test('a wrong password is not sent again without TLS', async () => {
    await expect(
      connection(open(`host=localhost port=${server.port} user=postgres password=wrong`)),
    ).rejects.toMatchObject({
      sqlState: '28P01',
    })
  })
})

describe.skipIf(binaries === undefined)('a server without TLS', () => {
  let server: TlsServer
  beforeAll(async () => {
    server = await startServer(undefined)
  }, 60_000)
  afterAll(async () => server?.stop())

  test.each([1, 3])('prefer serves many requests with a pool of %i', async (poolSize) => {
    const database = open(`host=localhost port=${server.port} user=postgres password=${quoted}`, poolSize)
    const rows = await Promise.all(Array.from({ length: 30 }, () => connection(database)))
    expect(new Set(rows.map(({ ssl }) => ssl))).toEqual(new Set([false]))
    expect(new Set(rows.map(({ pid }) => pid)).size).toBeLessThanOrEqual(poolSize)
  })
})
