import { createSocket } from 'node:dgram'
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SaveHandler } from 'session-pgsql'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { start } from '../../../session-pgsql/test/cli/command-line.ts'
import { describeOnEveryKind, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { hasOpenssl, makeCertificates } from '../../../session-pgsql/test/support/tls-server.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { run } from '../../src/run.ts'
import { Talk } from '../gateway/talk.ts'
import { ask, Browser, OPERATOR } from './kit.ts'

describeOnEveryKind(
  'session-pgsql-server console',
  (server) => {
    let folder: string
    let database: FreshDatabase
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'session-pgsql-console-'))
      const secret = { mode: 0o600 }
      await writeFile(join(folder, 'password'), `${OPERATOR}\n`, secret)
      await writeFile(join(folder, 'empty'), '\n', secret)
      await writeFile(join(folder, 'group'), `${OPERATOR}\n`)
      await chmod(join(folder, 'group'), 0o640)
      await writeFile(join(folder, 'world'), `${OPERATOR}\n`)
      await chmod(join(folder, 'world'), 0o604)
      for (const [name, mode] of [
        ['other', 0o640],
        ['shared', 0o660],
      ] as const) {
        await writeFile(join(folder, name), `${OPERATOR}\n`)
        // Of another user than root, where the tests run as root.
        if (name === 'other' && process.getuid?.() === 0) await chown(join(folder, name), 1, 1)
        await chmod(join(folder, name), mode)
      }
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
      /** A browser in which the printed URL was opened. */
      const opened = async (): Promise<Browser> => {
        const port = await portAfter(/console: https?:\/\/127\.0\.0\.1:(\d+)\/#token=/)
        return new Browser(port, /#token=(\S+)/.exec(said.out)?.[1])
      }
      return { said, code, portAfter, opened, stop: () => stop.abort() }
    }

    test('listens on loopback until it is stopped', async () => {
      const { said, code, opened, stop } = begin(['console', '--port', '0'])
      const operator = await opened()
      const { port } = operator
      expect((await ask(port, '/api/me')).json).toEqual({ signedIn: false, signInWith: 'token' })
      expect(await operator.me()).toMatchObject({ role: 'operator' })
      // It creates no table, and says which one is missing.
      expect((await operator.get('/api/sessions')).json).toMatchObject({ code: 'TABLE_MISSING' })
      expect(said.out).toContain(join(folder, 'console-audit.jsonl'))
      stop()
      expect(await code).toBe(0)
      await expect(ask(port, '/api/me')).rejects.toThrow()
    })

    test('announces the sessions that an operator ends, to processes that listen', async () => {
      const options = { table: 'announced', gcInterval: 0, announce: true }
      const site = new SaveHandler({ db: database.db as string, ...options })
      const ended: string[] = []
      site.on('ended', ({ id, reason }) => ended.push(`${id} ${reason}`))
      await site.open()
      await site.write('ended-by-operator', {}, { base: null })
      const { code, opened, stop } = begin(['console', '--port', '0', '--table', 'announced'])
      const operator = await opened()
      expect((await operator.post('/api/end', { ids: ['ended-by-operator'] })).status).toBe(200)
      await until(() => ended.length > 0, 'the announcement')
      expect(ended).toEqual(['ended-by-operator destroyed'])
      stop()
      expect(await code).toBe(0)
      await site.close()
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
      [['--password-file', 'world'], {}, /other users can access .*world \(mode 604\).*chmod 600/],
      [['--password-file', 'other'], {}, /other users can access .*other \(mode 640\)/],
      // The group may read a file of root, and not write it.
      [['--password-file', 'shared'], {}, /other users can access .*shared \(mode 660\)/],
      [['--encryption-keys', 'other'], {}, /--encryption-keys: other users can access .*other \(mode 640\)/],
      [['--reader-password-file', 'group'], {}, /other users can access|operators have none/],
      [['--audit-syslog', 'nowhere'], {}, /HOST:PORT/],
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

    test.each(['--password-file', '--encryption-keys'])(
      'the gateway refuses a file of %s that other users can access',
      async (flag) => {
        for (const name of ['other', 'shared', 'world']) {
          const { code, said } = begin(['gateway', '--port', '0', flag, join(folder, name)])
          expect(await code).toBe(2)
          expect(said.err).toMatch(new RegExp(`${flag}: other users can access .*${name}`))
        }
      },
    )

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

      const { code, opened, stop } = begin(['console', '--ini', ini, '--port', '0'], nothing)
      const operator = await opened()
      expect((await operator.get('/api/sessions')).json.sessions).toMatchObject([{ id: 'i'.repeat(26) }])
      expect((await operator.get('/api/gc')).json).toMatchObject({ keepsRows: true })
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

    test('keeps its sign-ins in a table of its own, and says which rights it lacks', async () => {
      const url = database.db as string
      const site = new SaveHandler({ db: url, table: 'guarded', gcInterval: 0 })
      await site.open()
      await site.close()
      await database.query(
        `CREATE ROLE console_user LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON guarded TO console_user`,
      )
      const as = (user: string) => ({
        SESSION_PGSQL_DB: Object.assign(new URL(url), { username: user }).href,
      })
      const argv = [
        'console',
        '--port',
        '0',
        '--table',
        'guarded',
        '--password-file',
        join(folder, 'password'),
      ]
      const refused = begin(argv, as('console_user'))
      expect(await refused.code).toBe(2)
      expect(refused.said.err).toMatch(
        /its own table guarded_console.*session-pgsql init --table guarded_console/,
      )
      // Without a password it needs no table.
      const token = begin(argv.slice(0, 5), as('console_user'))
      expect((await (await token.opened()).get('/api/sessions')).status).toBe(200)
      token.stop()
      expect(await token.code).toBe(0)
      // The owner creates the table, and grants what the message says.
      const owner = new SaveHandler({ db: url, table: 'guarded_console', gcInterval: 0 })
      await owner.open()
      await owner.close()
      await database.query('GRANT SELECT ON guarded_console TO console_user')
      const readOnly = begin(argv, as('console_user'))
      expect(await readOnly.code).toBe(2)
      await database.query('GRANT SELECT, INSERT, UPDATE, DELETE ON guarded_console TO console_user')
      const granted = begin(argv, as('console_user'))
      const port = await granted.portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      const operator = new Browser(port)
      expect((await operator.signIn(OPERATOR)).status).toBe(204)
      expect((await operator.get('/api/sessions')).status).toBe(200)
      granted.stop()
      expect(await granted.code).toBe(0)
    })

    test('applies no setting of the site’s sessions to its own table: its users stay signed in', async () => {
      const ini = join(folder, 'site.ini')
      await writeFile(ini, 'session_pgsql.max_lifetime = 2\nsession_pgsql.ids = hashed\n')
      const argv = [
        ...['console', '--port', '0', '--own-table', 'kept', '--ini', ini],
        ...['--password-file', join(folder, 'password')],
      ]
      const encrypted = {
        SESSION_PGSQL_ENCRYPTION_KEYS: `one:${Buffer.alloc(32, 1).toString('base64')}`,
        SESSION_PGSQL_COLUMNS: 'tenant:text',
        SESSION_PGSQL_MAX_LIFETIME: '2',
        SESSION_PGSQL_IDS: 'hashed',
      }
      const row = () =>
        database.query("SELECT sess_id, sess_data FROM kept WHERE sess_id IN ('operator', 'reader')")
      let cookie: string | undefined
      let host: string | undefined
      for (const environment of [encrypted, {}, encrypted]) {
        const { code, portAfter, stop, said } = begin(argv, environment)
        const port = await Promise.race([
          portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//),
          code.then(() => Promise.reject(new Error(said.err))),
        ])
        const operator = new Browser(port)
        if (cookie === undefined) {
          expect((await operator.signIn(OPERATOR)).status).toBe(204)
          cookie = operator.cookie as string
          host = `127.0.0.1:${port}`
        }
        expect((await ask(port, '/api/overview', { headers: { cookie, host } })).status).toBe(200)
        expect(await row()).toMatchObject([{ sess_id: 'operator', sess_data: expect.stringContaining('{') }])
        // No maximum lifetime: the row lives as long as the console's setting says.
        const [left] = await database.query(
          "SELECT sess_expire - extract(epoch FROM now()) > 86400 AS long FROM kept WHERE sess_id = 'operator'",
        )
        expect(left).toEqual({ long: true })
        stop()
        expect(await code).toBe(0)
      }
    })

    test('starts while the database is unreachable, and lets users sign in as soon as it is', async () => {
      const argv = ['console', '--port', '0', '--password-file', join(folder, 'password')]
      const { code, said, portAfter, stop } = begin(argv, {
        SESSION_PGSQL_DB: 'host=127.0.0.1 port=1 connect_timeout=1',
      })
      const port = await portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      expect(said.err).toContain('Users cannot sign in until the database is reachable.')
      expect((await new Browser(port).signIn(OPERATOR)).status).toBe(503)
      stop()
      expect(await code).toBe(0)
    })

    test('sends the audit log to stdout and to a syslog server as it is written', async () => {
      const syslog = createSocket('udp4')
      const received: string[] = []
      syslog.on('message', (message) => received.push(String(message)))
      await new Promise<void>((resolve) => syslog.bind(0, '127.0.0.1', resolve))
      const auditFile = join(folder, 'sent.jsonl')
      const { code, opened, said, stop } = begin([
        ...['console', '--port', '0', '--audit-file', auditFile, '--audit-stdout'],
        ...['--audit-syslog', `127.0.0.1:${syslog.address().port}`],
      ])
      const operator = await opened()
      await operator.me()
      await operator.post('/api/sign-out', {})
      stop()
      expect(await code).toBe(0)
      const lines = (await readFile(auditFile, 'utf8')).trimEnd().split('\n')
      expect(lines.map((line) => JSON.parse(line).act)).toEqual(['sign-in', 'sign-out'])
      expect(said.out.split('\n').filter((line) => line.startsWith('{'))).toEqual(lines)
      await until(() => received.length === 2, 'both messages')
      for (const [index, message] of received.entries()) {
        const [, priority, json] =
          /^<(\d+)>1 \d{4}-\S+Z \S+ session-pgsql-console \d+ - - (\{.*\})$/.exec(message) ?? []
        expect([priority, json]).toEqual(['109', lines[index]])
      }
      syslog.close()
    })

    test('shows a GC run of another process, such as cron', async () => {
      const url = database.db as string
      const site = new SaveHandler({ db: url, table: 'by_cron', gcInterval: 0 })
      await site.open()
      await site.close()
      await database.query("INSERT INTO by_cron (sess_id, sess_data, sess_expire) VALUES ('old', '{}', 1)")
      const { code, opened, stop } = begin(['console', '--port', '0', '--table', 'by_cron'])
      const operator = await opened()
      const cron = await start(['gc', '--quiet', '--table', 'by_cron', '--db', url], {}).ended
      expect(cron).toMatchObject({ code: 0, stdout: '', stderr: '' })
      const runs = async () => (await operator.get('/api/overview')).json.gc
      await until(async () => (await runs()).length > 0, 'the sweep')
      expect(await runs()).toMatchObject([{ removed: 1, server: expect.stringContaining(new URL(url).host) }])
      stop()
      expect(await code).toBe(0)
    })

    test('is served by the gateway with --console-port', async () => {
      const { code, opened, stop } = begin(['gateway', '--port', '0', '--console-port', '0'])
      const operator = await opened()
      await until(async () => (await operator.get('/api/sessions')).status === 200, 'sessions')
      stop()
      expect(await code).toBe(0)
    })
  },
  ['postgres'],
)
