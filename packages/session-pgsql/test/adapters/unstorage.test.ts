import { createStorage, type Driver, prefixStorage } from 'unstorage'
import { expect, expectTypeOf, test } from 'vitest'
import pgsqlDriver, { type PgsqlDriver, type PgsqlDriverOptions } from '../../src/adapters/unstorage.ts'
import { SaveHandler } from '../../src/index.ts'
import { Browser } from '../../src/testing/browser.ts'
import { Gates } from '../../src/testing/gates.ts'
import { describeHandler, errorOf } from '../handler/kit.ts'
import { startProxy } from '../support/proxy.ts'
import { describeOnEveryKind } from '../support/servers.ts'
import { eventually } from '../support/wait.ts'
import { describeGuarantees, startExample } from './guarantees.ts'
import { keyValueDriver, strangeKeys } from './key-value.ts'

describeGuarantees(
  keyValueDriver('unstorage', (options) => {
    const driver = pgsqlDriver(options)
    const storage = createStorage<string>({ driver })
    return {
      handler: driver.getInstance(),
      // unstorage parses values that look like JSON.
      get: (key) => storage.getItem(key).then((item) => (item === null ? null : JSON.stringify(item))),
      set: (key, value, ttl) => storage.setItem(key, value, { ttl }),
      remove: (key) => storage.removeItem(key),
      close: () => storage.dispose(),
    }
  }),
)

describeHandler('unstorage', (kit) => {
  let bases = 0
  /** A storage with its own base, so that the tests do not share items. */
  const openStorage = (options: Partial<PgsqlDriverOptions> = {}) => {
    const handler = kit.open({ idPattern: /^[^\0]{1,512}$/ })
    const driver = pgsqlDriver({ handler, base: `base${++bases}`, ...options } as PgsqlDriverOptions)
    return { handler, driver, storage: createStorage({ driver }) }
  }

  test('returns items unchanged', async () => {
    const { storage } = openStorage()
    const items: Record<string, string | number | boolean | object> = {
      'a:text': 'text',
      'a:empty': '',
      'a:number': 1,
      'a:object': { deep: [1, 'ä', null] },
      'a:no text of PostgreSQL': 'a\0b\ud800c',
      'ключ:with blanks / and slashes': 'x',
    }
    for (const [key, value] of Object.entries(items)) await storage.setItem(key, value)
    for (const [key, value] of Object.entries(items)) {
      expect(await storage.getItem(key)).toEqual(value)
      expect(await storage.hasItem(key)).toBe(true)
    }
    expect(await storage.getItem('a:missing')).toBeNull()
    expect(await storage.hasItem('a:missing')).toBe(false)
    await storage.removeItem('a:text')
    await storage.removeItem('a:text')
    expect(await storage.hasItem('a:text')).toBe(false)
    const bytes = new Uint8Array([0, 1, 255])
    await storage.setItemRaw('raw', bytes)
    expect(new Uint8Array((await storage.getItemRaw<Uint8Array>('raw')) as Uint8Array)).toEqual(bytes)
  })

  test('takes every key, keeps similar ones apart, lists and clears them', async () => {
    // A shared handler has its own pattern of ids.
    for (const idPattern of [undefined, 'php' as const, /^[^\0]{1,512}$/]) {
      const { driver } = openStorage({ handler: kit.open(idPattern && { idPattern }) })
      const keys = strangeKeys(kit.id())
      await Promise.all(keys.map((key, index) => driver.setItem(key, String(index), {})))
      await driver.setItem('fits', 'x')
      expect(await Promise.all(keys.map((key) => driver.getItem(key)))).toEqual(
        keys.map((_, index) => String(index)),
      )
      expect((await driver.getKeys('')).sort()).toEqual([...keys, 'fits'].sort())
      const long = `127.0.0.1|/${'x'.repeat(550)}`
      expect((await driver.getKeys(long)).sort()).toEqual(keys.slice(0, 2).sort())
      expect(await driver.getMeta(keys[0] as string)).toHaveProperty('mtime')
      await driver.removeItem(keys[0] as string)
      expect(await driver.hasItem(keys[0] as string)).toBe(false)
      await driver.clear(long)
      expect(await driver.hasItem(keys[1] as string)).toBe(false)
      expect(await driver.hasItem(keys[2] as string)).toBe(true)
      await driver.clear('')
      expect(await driver.getKeys('')).toEqual([])
      const huge = 'x'.repeat(3_000_000)
      await driver.setItem(huge, 'huge')
      expect(await driver.getItem(huge)).toBe('huge')
    }
  })

  test('items live for their ttl in seconds', async () => {
    const { storage } = openStorage({ ttl: 500 })
    await storage.setItem('own', 'x', { ttl: 100 })
    await storage.setItem('default', 'x')
    await storage.setItems([{ key: 'batch', value: 'x', options: { ttl: 50 } }], { ttl: 60 })
    const ttlOf = async (key: string) => (await storage.getMeta(key)).ttl
    expect(await ttlOf('own')).toSatisfy((ttl: number) => ttl > 90 && ttl <= 102)
    expect(await ttlOf('default')).toSatisfy((ttl: number) => ttl > 490 && ttl <= 502)
    expect(await ttlOf('batch')).toSatisfy((ttl: number) => ttl > 40 && ttl <= 52)
    expect((await storage.getMeta('own')).mtime).toBeInstanceOf(Date)
    const { storage: forGood } = openStorage()
    await forGood.setItem('x', 'x')
    expect(await forGood.getMeta('x')).not.toHaveProperty('ttl')
    expect(await forGood.getMeta('missing')).toEqual({})
  })

  test('lists and clears keys by prefix, and leaves other rows alone', async () => {
    const { handler, storage, driver } = openStorage()
    const otherRow = kit.id()
    await handler.write(otherRow, {})
    const other = openStorage().storage
    await other.setItem('a:1', 'x')
    await storage.setItems(['a:1', 'a:2', 'a:b:3', 'ab:4', 'b:5'].map((key) => ({ key, value: 'x' })))
    expect((await storage.getKeys()).sort()).toEqual(['a:1', 'a:2', 'a:b:3', 'ab:4', 'b:5'])
    expect((await storage.getKeys('a')).sort()).toEqual(['a:1', 'a:2', 'a:b:3'])
    expect((await storage.getKeys('a:b')).sort()).toEqual(['a:b:3'])
    expect(await storage.getKeys('none')).toEqual([])
    expect(await prefixStorage(storage, 'b').getKeys()).toEqual(['5'])
    // unstorage passes a base only to storages mounted below it.
    await driver.clear('a:')
    expect((await storage.getKeys()).sort()).toEqual(['ab:4', 'b:5'])
    await storage.clear()
    expect(await storage.getKeys()).toEqual([])
    expect(await other.getKeys()).toEqual(['a:1'])
    expect(await handler.read(otherRow)).toBeDefined()
    // Also without a base, rows of another name are not affected.
    const whole = pgsqlDriver({ handler })
    expect(await whole.getKeys()).not.toContain(otherRow)
    await whole.clear()
    expect(await handler.read(otherRow)).toBeDefined()
    expect(await other.getKeys()).toEqual([])
    expect(await driver.getKeys('')).toEqual([])
  })

  test('lists more keys than one page', async () => {
    const { storage } = openStorage()
    const keys = Array.from({ length: 1205 }, (_, index) => `k:${String(index).padStart(4, '0')}`)
    await storage.setItems(keys.map((key) => ({ key, value: 'x' })))
    expect((await storage.getKeys()).sort()).toEqual(keys)
    await storage.clear()
    expect(await storage.getKeys()).toEqual([])
  })

  test('reads and writes several items with one statement each', async () => {
    const { handler, storage } = openStorage()
    await storage.setItem('warm', 'x')
    const before = handler.status().servers[0]?.calls ?? 0
    await storage.setItems(['1', '2', '3', '4'].map((key) => ({ key, value: `v${key}` })))
    const items = await storage.getItems(['1', '4', 'missing', '2'])
    expect(items).toEqual([
      { key: '1', value: 'v1' },
      { key: '4', value: 'v4' },
      { key: 'missing', value: null },
      { key: '2', value: 'v2' },
    ])
    expect((handler.status().servers[0]?.calls ?? 0) - before).toBe(2)
  })

  test('an outage is an error, and ends', async () => {
    const { storage } = openStorage()
    await storage.setItem('x', 'kept')
    await kit.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
    try {
      for (const error of await Promise.all(
        [storage.getItem('x'), storage.hasItem('x'), storage.setItem('x', 'y')].map((one) => errorOf(one)),
      )) {
        expect(error).toHaveProperty('name', 'SessionPgsqlError')
      }
    } finally {
      await kit.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
    }
    expect(await storage.getItem('x')).toBe('kept')
  })

  test('dispose closes the driver’s own handler, and the items stay', async () => {
    const options = { db: kit.database().db, gcInterval: 0, base: 'restart' }
    const driver = pgsqlDriver(options)
    await createStorage({ driver }).setItem('ключ one', 'kept')
    await driver.dispose()
    expect(await errorOf(driver.getItem('x'))).toHaveProperty('code', 'CLOSED')
    const again = createStorage({ driver: pgsqlDriver(options) })
    expect(await again.getItem('ключ one')).toBe('kept')
    await again.dispose()
  })

  test('list takes a prefix with any characters', async () => {
    const sessions = kit.open({ idPattern: /^[^\0]{1,512}$/ })
    const ids = ['p_x', 'pax', 'p%x', 'p\ud7ff', 'p\ud7ff1', 'p\ue000', 'p\u{10ffff}', 'p\u{10ffff}1', 'q']
    const own = kit.id()
    for (const id of ids) await sessions.write(own + id, {})
    const listed = async (prefix: string) =>
      (await sessions.list({ idPrefix: own + prefix })).map(({ id }) => id.slice(own.length)).sort()
    expect(await listed('')).toEqual([...ids].sort())
    for (const prefix of ['p', 'p_', 'p%', 'p\ud7ff', 'p\u{10ffff}', 'q', 'r']) {
      expect(await listed(prefix)).toEqual(ids.filter((id) => id.startsWith(prefix)).sort())
    }
    expect(await sessions.count({ idPrefix: `${own}p` })).toBe(8)
    expect((await sessions.list({ idPrefix: '\u{10ffff}' })).length).toBe(0)
    expect(await errorOf(sessions.list({ idPrefix: 'a\0' }))).toHaveProperty('code', 'INVALID_ARGUMENT')
  })

  test('the index serves a prefix', async () => {
    await kit.open().open()
    const plan = await kit.query(
      `EXPLAIN SELECT sess_id FROM php_session t WHERE t.sess_id COLLATE "C" >= 'a:' AND t.sess_id COLLATE "C" < 'a;'`,
    )
    expect(JSON.stringify(plan)).toMatch(/Index Cond|Bitmap/)
  })
})

describeOnEveryKind('The unstorage example', (server) => {
  test('keeps its items over HTTP, a restart and an outage', async () => {
    const database = await server.freshDatabase()
    const options = { db: database.db, gcInterval: 0, operationTimeout: 60 }
    const start = () => startExample('unstorage', options, async () => {})
    let site = await start()
    let browser = new Browser(site.url)
    const send = async (method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: string) => {
      const { status, text } = await browser.send(method, path, body)
      return `${status} ${text}`
    }
    expect(await send('PUT', '/one', 'of nobody')).toBe('401 ')
    expect(await send('POST', '/sign-in?user=ada')).toBe('200 ')
    const puts = ['one', 'two', 'three'].map((key) => send('PUT', `/${key}`, `note ${key}`))
    expect(await Promise.all(puts)).toEqual(['200 ', '200 ', '200 '])
    expect(await send('GET', '/two')).toBe('200 note two')
    await site.stop()
    site = await start()
    browser = browser.clone(site.url)
    expect(await send('POST', '/me')).toBe('200 ada')
    expect(await send('GET', '/')).toBe('200 one\nthree\ntwo')
    await database.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
    expect(await send('GET', '/two')).toMatch(/^500 /)
    expect(await send('POST', '/me')).toMatch(/^500 /)
    await database.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
    expect(await send('GET', '/two')).toBe('200 note two')
    expect(await send('DELETE', '/two')).toBe('200 ')
    expect(await send('GET', '/two')).toBe('404 ')
    await site.stop()
  })

  test('a sign-out ends only this browser’s session, and a request in progress does not restore it', async () => {
    const { db } = await server.freshDatabase()
    const gates = new Gates()
    const site = await startExample('unstorage', { db, gcInterval: 0, operationTimeout: 60 }, gates.pause)
    try {
      const browser = new Browser(site.url)
      const other = new Browser(site.url)
      for (const one of [browser, other]) await one.send('POST', '/sign-in?user=ada')
      const [before, late] = [browser.clone(), browser.clone()]
      const slow = late.send('PUT', '/note?wait=late', 'written')
      await gates.reached('late')
      expect((await browser.send('POST', '/sign-out')).status).toBe(200)
      expect((await browser.send('POST', '/me')).status).toBe(401)
      gates.open('late')
      expect((await slow).status).toBe(200)
      for (const one of [before, late]) {
        expect((await one.send('POST', '/me')).status).toBe(401)
        expect((await one.send('PUT', '/note', 'again')).status).toBe(401)
      }
      expect((await other.send('POST', '/me')).text).toBe('ada')
      expect((await other.send('GET', '/note')).text).toBe('written')
    } finally {
      gates.openAll()
      await site.stop()
    }
  })

  if (server.kind === 'pglite') return

  test('an outage of the database is an error, and ends', async () => {
    const url = new URL((await server.freshDatabase()).db as string)
    const proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
    url.host = `${proxy.host}:${proxy.port}`
    const db = { connectionString: url.href }
    const site = await startExample('unstorage', { db, gcInterval: 0, operationTimeout: 15 }, async () => {})
    const browser = new Browser(site.url)
    const statusOf = async (method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: string) =>
      (await browser.send(method, path, body)).status
    try {
      expect(await statusOf('POST', '/sign-in?user=ada')).toBe(200)
      expect(await statusOf('PUT', '/one', 'note')).toBe(200)
      await proxy.refuse()
      proxy.drop()
      expect(await statusOf('GET', '/one')).toBe(500)
      expect(await statusOf('PUT', '/one', 'lost')).toBe(500)
      await proxy.resume()
      await eventually(async () => expect(await statusOf('GET', '/one')).toBe(200))
      expect(await (await fetch(`${site.url}/one`)).text()).toBe('note')
    } finally {
      await site.stop()
      await proxy.stop()
    }
  })
})

test('takes the entry of a configuration of Nitro and Nuxt', async () => {
  const driver = pgsqlDriver({ driver: 'session-pgsql/unstorage', db: 'pglite:', base: 'sessions' })
  await driver.setItem('key', 'value')
  expect(await driver.getItem('key')).toBe('value')
  await driver.dispose()
})

test('fits the Driver of unstorage', () => {
  expectTypeOf<PgsqlDriver>().toExtend<Driver<PgsqlDriverOptions, SaveHandler<string>>>()
  const handler = new SaveHandler({ db: 'pglite:' })
  expect(() => pgsqlDriver({ handler, table: 'other' } as never)).toThrow(/option table/)
})
