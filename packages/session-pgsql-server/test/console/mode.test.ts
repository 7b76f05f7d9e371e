import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SaveHandler } from 'session-pgsql'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { start } from '../../../session-pgsql/test/cli/command-line.ts'
import { describeOnEveryServer, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { hasOpenssl, makeCertificates } from '../../../session-pgsql/test/support/tls-server.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { run } from '../../src/run.ts'
import { Talk } from '../gateway/talk.ts'
import { ask, Browser, OPERATOR } from './kit.ts'

describeOnEveryServer(
  'session-pgsql-server console',
  (server) => {
    let folder: string
    let database: FreshDatabase
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'session-pgsql-console-'))
      await writeFile(join(folder, 'password'), `${OPERATOR}\n`)
      await writeFile(join(folder, 'empty'), '\n')
      database = await server.freshDatabase()
    })
    afterAll(() => rm(folder, { recursive: true, force: true }))

    function begin(argv: string[], environment: Record<string, string> = {}) {
      const stop = new AbortController()
      const said = { out: '', err: '' }
      const say = (where: keyof typeof said) => (text: string) => {
        said[where] += text
      }
      const code = run(argv, {
        environment: { SESSION_PGSQL_DB: database.db as string, STATE_DIRECTORY: folder, ...environment },
        stdout: { write: say('out') },
        stderr: { write: say('err') },
        signal: stop.signal,
      })
      const portAfter = (pattern: RegExp): Promise<number> =>
        until(() => Number(pattern.exec(said.out)?.[1]) || undefined, `${pattern} in what it says`)
      return { said, code, portAfter, stop: () => stop.abort() }
    }

    test('listens on loopback until it is stopped', async () => {
      const { said, code, portAfter, stop } = begin(['console', '--port', '0'])
      const port = await portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      expect((await ask(port, '/api/me')).json).toMatchObject({ role: 'operator', passwordNeeded: false })
      // It creates no table, and says which one is missing.
      expect((await ask(port, '/api/sessions')).json).toMatchObject({ code: 'TABLE_MISSING' })
      expect(said.out).toContain(join(folder, 'console-audit.jsonl'))
      stop()
      expect(await code).toBe(0)
      await expect(ask(port, '/api/me')).rejects.toThrow()
    })

    test('requires a password to listen on another address than loopback', async () => {
      const refused = await begin(['console', '--host', '0.0.0.0']).code
      expect(refused).toBe(2)
      const { code, portAfter, stop, said } = begin([
        ...['console', '--host', '0.0.0.0', '--port', '0', '--password-file', join(folder, 'password')],
      ])
      const port = await portAfter(/console: http:\/\/0\.0\.0\.0:(\d+)\//)
      expect(said.err).toContain('TLS')
      expect((await ask(port, '/api/audit')).status).toBe(401)
      expect((await new Browser(port).signIn('guess')).status).toBe(401)
      stop()
      expect(await code).toBe(0)
    })

    test.each([
      [['--password-file', 'nowhere'], {}, /nowhere cannot be read/],
      [['--password-file', 'empty'], {}, /empty/],
      [['--trust-proxy'], {}, /set a password/],
      [[], { SESSION_PGSQL_CONSOLE_READER_PASSWORD: 'x' }, /operators have none/],
      [
        [],
        { SESSION_PGSQL_CONSOLE_READER_PASSWORD: 'x', SESSION_PGSQL_CONSOLE_PASSWORD: 'x' },
        /the same password/,
      ],
      [['--name', 'https://x'], {}, /host name/],
      [['--port', '70000'], {}, /whole number/],
      [['--tls-cert', 'password'], {}, /must be set together/],
      [['--nonsense'], {}, /nonsense/],
    ])('refuses %j and says why', async (flags, environment, why) => {
      const files = flags.map((flag) => (/^[a-z]+$/.test(flag) ? join(folder, flag) : flag))
      const { code, said } = begin(['console', '--port', '0', ...files], environment)
      expect(await code).toBe(2)
      expect(said.err).toMatch(why)
    })

    test('reads the database and keepExpired from a php.ini, as the gateway does', async () => {
      const ini = join(folder, 'php.ini')
      await writeFile(
        ini,
        `[Session]\nsession.save_handler = redis\nsession.serialize_handler = php_serialize\nsession.gc_maxlifetime = 600\n` +
          `session_pgsql.db = "${database.db}"\nsession_pgsql.table = from_ini\nsession_pgsql.keep_expired = On\n` +
          `session_pgsql.short_circuit = 1\nsession_pgsql.gc_interval = 1\n`,
      )
      const nothing = { SESSION_PGSQL_DB: 'host=127.0.0.1 port=1' }
      const gateway = begin(['gateway', '--ini', ini, '--port', '0'], nothing)
      const gate = await gateway.portAfter(/listening on tcp:\/\/127\.0\.0\.1:(\d+), codec php_serialize/)
      const talk = new Talk(gate)
      const key = `PHPSESSID:${'i'.repeat(26)}`
      await until(async () => (await talk.ask('PING')) === '+PONG\r\n', 'the database')
      const [, status = '{}'] = (await talk.ask('SESSION.STATUS')).split('\r\n')
      expect(JSON.parse(status).settings).toMatchObject({
        table: expect.stringContaining('from_ini'),
        codec: 'php_serialize',
        keepExpired: true,
        shortCircuit: true,
        gcInterval: 1,
        gcMaxlifetime: 600,
      })
      // Read first, as PHP does: a write without a read creates nothing.
      await talk.ask('GET', key)
      expect(await talk.ask('SETEX', key, '1440', 'a:1:{s:4:"user";s:3:"ada";}')).toBe('+OK\r\n')
      const row = async () => (await database.query('SELECT sess_data, sess_counter FROM from_ini'))[0]
      const written = await row()
      // Short circuit: an unchanged session is not touched so soon.
      await talk.ask('GET', key)
      expect(await talk.ask('EXPIRE', key, '1440')).toBe(':1\r\n')
      expect(await row()).toEqual(written)

      const { code, portAfter, stop } = begin(['console', '--ini', ini, '--port', '0'], nothing)
      const port = await portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      expect((await ask(port, '/api/sessions')).json.sessions).toMatchObject([{ id: 'i'.repeat(26) }])
      expect((await ask(port, '/api/gc')).json).toMatchObject({ keepsRows: true })
      stop()
      expect(await code).toBe(0)

      // GC comes by itself, and empties what it would else remove.
      await database.query('UPDATE from_ini SET sess_expire = 1000, sess_sweep = 0')
      await until(async () => {
        await talk.ask('GET', key)
        return (await row())?.sess_data === ''
      }, 'the collection')
      talk.end()
      gateway.stop()
      expect(await gateway.code).toBe(0)
    })

    test('sets Secure cookies over TLS, and refuses plain HTTP', async (ctx) => {
      ctx.skip(!hasOpenssl, 'no OpenSSL to make certificates with')
      const { ca } = makeCertificates(folder, 'DNS:localhost')
      const files = ['--tls-cert', join(folder, 'server.crt'), '--tls-key', join(folder, 'server.key')]
      const { code, portAfter, stop, said } = begin([
        ...['console', '--port', '0', '--password-file', join(folder, 'password'), ...files],
      ])
      const port = await portAfter(/console: https:\/\/127\.0\.0\.1:(\d+)\//)
      const authority = await readFile(ca)
      const secure = (path: string, method = 'GET', headers: OutgoingHttpHeaders = {}, body?: string) =>
        new Promise<IncomingMessage>((resolve, reject) => {
          const options = { host: 'localhost', port, path, method, headers, ca: authority, agent: false }
          request(options, (answer) => {
            answer.resume()
            resolve(answer)
          })
            .on('error', reject)
            .end(body)
        })
      expect((await secure('/api/overview')).statusCode).toBe(401)
      const origin = `https://localhost:${port}`
      const headers = { 'content-type': 'application/json', origin, 'sec-fetch-site': 'same-origin' }
      // The console's own sessions want a table, which it does not create.
      const site = new SaveHandler({ db: database.db as string, gcInterval: 0 })
      await site.open()
      await site.close()
      const signedIn = await secure('/api/sign-in', 'POST', headers, JSON.stringify({ password: OPERATOR }))
      expect(signedIn.statusCode).toBe(204)
      const [cookie = ''] = signedIn.headers['set-cookie'] ?? []
      expect(cookie).toMatch(/; HttpOnly; .*; Secure$|; Secure; HttpOnly/)
      const own = { cookie: cookie.split(';', 1)[0] }
      expect((await secure('/api/overview', 'GET', own)).statusCode).toBe(200)
      expect(said.err).not.toContain('TLS')
      // Without TLS there is nothing to be had on that port.
      await expect(ask(port, '/api/me')).rejects.toThrow()
      stop()
      expect(await code).toBe(0)
    })

    test('shows a GC run of another process, such as cron', async () => {
      const url = database.db as string
      const site = new SaveHandler({ db: url, table: 'by_cron', gcInterval: 0 })
      await site.open()
      await site.close()
      await database.query("INSERT INTO by_cron (sess_id, sess_data, sess_expire) VALUES ('old', '{}', 1)")
      const { code, portAfter, stop } = begin(['console', '--port', '0', '--table', 'by_cron'])
      const port = await portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      const cron = await start(['gc', '--quiet', '--table', 'by_cron', '--db', url], {}).ended
      expect(cron).toMatchObject({ code: 0, stdout: '', stderr: '' })
      const runs = async () => (await ask(port, '/api/overview')).json.gc
      await until(async () => (await runs()).length > 0, 'the sweep')
      expect(await runs()).toMatchObject([{ removed: 1, server: expect.stringContaining(new URL(url).host) }])
      stop()
      expect(await code).toBe(0)
    })

    test('is served by the gateway with --console-port', async () => {
      const { code, portAfter, stop } = begin(['gateway', '--port', '0', '--console-port', '0'])
      const port = await portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      await until(async () => (await ask(port, '/api/sessions')).status === 200, 'sessions')
      stop()
      expect(await code).toBe(0)
    })
  },
  ['postgres'],
)
