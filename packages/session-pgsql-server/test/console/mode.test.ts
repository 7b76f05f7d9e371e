import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeOnEveryServer, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { run } from '../../src/run.ts'
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

    test('serves on this machine until it is asked to end', async () => {
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

    test('other machines want a password', async () => {
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
      [['--tls-cert', 'password'], {}, /come together/],
      [['--nonsense'], {}, /nonsense/],
    ])('%j is refused, and it says why', async (flags, environment, why) => {
      const files = flags.map((flag) => (/^[a-z]+$/.test(flag) ? join(folder, flag) : flag))
      const { code, said } = begin(['console', '--port', '0', ...files], environment)
      expect(await code).toBe(2)
      expect(said.err).toMatch(why)
    })

    test('the gateway may serve it too', async () => {
      const { code, portAfter, stop } = begin(['gateway', '--port', '0', '--console-port', '0'])
      const port = await portAfter(/console: http:\/\/127\.0\.0\.1:(\d+)\//)
      await until(async () => (await ask(port, '/api/sessions')).status === 200, 'sessions')
      stop()
      expect(await code).toBe(0)
    })
  },
  ['postgres'],
)
