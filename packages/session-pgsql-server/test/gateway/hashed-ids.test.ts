import { createHash } from 'node:crypto'
import { phpBytesCodec, SaveHandler, type SaveHandlerOptions } from 'session-pgsql'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { describeOnEveryKind, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { PHP_BYTES } from '../../src/gateway/wire-format.ts'
import { run } from '../../src/run.ts'
import { consoles } from '../console/kit.ts'
import { DATA, DEFAULTS, UNLOCK } from './kit.ts'
import { Talk } from './talk.ts'

type Mode = NonNullable<SaveHandlerOptions['ids']>

const stored = (id: string): string => `h1:${createHash('sha256').update(id).digest('base64url')}`

describeOnEveryKind(
  'hashed ids',
  (server) => {
    const console = consoles()
    const closing: (() => Promise<unknown>)[] = []
    let database: FreshDatabase
    let count = 0
    beforeAll(async () => {
      database = await server.freshDatabase()
    })
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    const options = (ids: Mode, table: string) =>
      ({
        db: database.db as string,
        table,
        ids,
        idPattern: 'php',
        gcInterval: 0,
      }) satisfies SaveHandlerOptions

    /** Starts a gateway as a site of PHP uses it, and a save handler as a site of Node uses it. */
    async function start(ids: Mode, table: string) {
      const own = new SaveHandler<Uint8Array>({ ...options(ids, table), codec: phpBytesCodec('php') })
      const node = new SaveHandler<Record<string, unknown>>({ ...options(ids, table), codec: 'php' })
      const gateway = new Gateway({ ...DEFAULTS, sessions: own, wireFormat: PHP_BYTES })
      const { port } = await gateway.listen()
      const client = new Talk(port)
      closing.push(
        () => node.close(),
        () => own.close(),
        () => gateway.close(),
        async () => client.end(),
      )
      return { client, node }
    }
    const rows = (table: string) =>
      database.query<{ sess_id: string }>(`SELECT sess_id FROM ${table} WHERE sess_destroyed IS NULL`)

    test.each<Mode>(['migrate', 'hashed'])('are shared by PHP and Node on one table: %s', async (ids) => {
      const table = `gateway_${ids}`
      const { client, node } = await start(ids, table)
      const id = `${count++}`.padStart(26, 'k')
      const key = `PHPSESSID:${id}`
      expect(await client.ask('SET', `${key}_LOCK`, 'owner', 'NX', 'PX', '30000')).toBe('+OK\r\n')
      expect(await client.ask('SETEX', key, '1440', DATA)).toBe('+OK\r\n')
      expect(await rows(table)).toEqual([{ sess_id: stored(id) }])
      expect(await node.lockOwner(id)).toBeDefined()
      const base = await node.read(id)
      expect([base?.id, base?.data]).toEqual([id, { user: 'ada', n: 1 }])
      await node.write(id, { user: 'ada', n: 2 }, { base })
      expect(await client.ask('GET', key)).toContain('n|i:2;')
      expect(await client.ask('EVALSHA', UNLOCK, '1', `${key}_LOCK`, 'owner')).toBe(':1\r\n')
      expect(await client.ask('DEL', key)).toBe(':1\r\n')
      expect(await node.read(id)).toBeUndefined()
      // The stored form is no id of a visitor.
      expect(await client.ask('GET', `PHPSESSID:${stored(id)}`)).not.toContain('user')
    })

    test('of a table are found by a gateway with plain ids', async () => {
      const table = 'gateway_plain'
      const { client } = await start('plain', table)
      const id = `${count++}`.padStart(26, 'k')
      expect(await client.ask('GET', `PHPSESSID:${id}`)).toBe('$-1\r\n')
      const { node } = await start('migrate', table)
      await node.write(id, { n: 1 })
      expect(await client.ask('GET', `PHPSESSID:${id}`)).toContain('n|i:1;')
      expect(await client.ask('DEL', `PHPSESSID:${id}`)).toBe(':1\r\n')
      expect(await rows(table)).toEqual([])
    })

    test('are shown, searched and ended by the console', async () => {
      const { browser, sessions } = await console(database, { handler: { ids: 'hashed', createTable: true } })
      await sessions.write('one-of-ada', { n: 1 }, { custom: 'ada' })
      const one = browser()
      await one.me()
      const form = stored('one-of-ada')
      for (const q of ['one-of-ada', form, form.slice(0, 12)]) {
        const { json } = await one.get(`/api/sessions?by=id&q=${encodeURIComponent(q)}`)
        expect([q, json.sessions.map(({ id }: { id: string }) => id)]).toEqual([q, [form]])
      }
      const shown = await one.get(`/api/session?id=${encodeURIComponent(form)}`)
      expect([shown.status, shown.json.id, shown.text.includes('one-of-ada')]).toEqual([200, form, false])
      expect((await one.post('/api/end', { ids: [form] })).status).toBe(200)
      expect(await sessions.read('one-of-ada')).toBeUndefined()
    })

    test('are set by --ids, and another value is refused', async () => {
      for (const mode of ['gateway', 'console']) {
        let message = ''
        const code = await run([mode, '--ids', 'sha1', '--db', 'host=127.0.0.1'], {
          environment: {},
          stdout: { write: () => {} },
          stderr: {
            write: (text) => {
              message += text
            },
          },
          signal: new AbortController().signal,
        })
        expect([mode, code, message]).toEqual([mode, expect.any(Number), expect.stringContaining("'hashed'")])
        expect(code).not.toBe(0)
      }
    })
  },
  ['postgres'],
)
