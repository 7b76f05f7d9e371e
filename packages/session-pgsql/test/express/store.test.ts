import express from 'express'
import session, { type SessionData } from 'express-session'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { PgsqlStore } from '../../src/adapters/express.ts'
import { SaveHandler, SessionPgsqlError } from '../../src/index.ts'
import { runWorkers } from '../support/processes.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { Browser, listen, optionsFor } from './site.ts'

type Data = SessionData & Record<string, unknown>

/** Returns the store's methods as functions that return promises. */
function promised(store: PgsqlStore) {
  const call = <T>(work: (callback: (error?: unknown, value?: unknown) => void) => void) =>
    new Promise<T>((resolve, reject) => work((error, value) => (error ? reject(error) : resolve(value as T))))
  return {
    get: (id: string) => call<Data | undefined>((done) => store.get(id, done)),
    set: (id: string, data: object) => call<void>((done) => store.set(id, data as Data, done)),
    touch: (id: string, data: object) => call<void>((done) => store.touch(id, data as Data, done)),
    destroy: (id: string) => call<void>((done) => store.destroy(id, done)),
    load: (id: string) => call<Data | undefined>((done) => store.load(id, done)),
    all: () => call<Record<string, Data>>((done) => store.all(done)),
    ids: () => call<string[]>((done) => store.ids(done)),
    length: () => call<number>((done) => store.length(done)),
    clear: () => call<void>((done) => store.clear(done)),
  }
}

const plain = (data: object = {}) => ({ cookie: { originalMaxAge: null }, ...data })

describeOnEveryKind('PgsqlStore', (server) => {
  let database: FreshDatabase
  const closing: { close(): Promise<void> }[] = []

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((one) => one.close()))
  })

  function newStore(options: object = {}) {
    const store = new PgsqlStore({ ...optionsFor(database), ...options })
    closing.push(store)
    return { store, ...promised(store) }
  }

  test('all, ids, length and clear affect only sessions of the store’s name', async () => {
    const shop = newStore({ name: 'shop' })
    const admin = newStore({ name: 'admin' })
    for (let n = 0; n < 3; n++) await shop.set(`shop${n}`, plain({ n }))
    await admin.set('admin0', plain({ role: 'root' }))
    expect((await shop.ids()).sort()).toEqual(['shop0', 'shop1', 'shop2'])
    expect(await shop.length()).toBe(3)
    const all = await shop.all()
    expect(Object.keys(all).sort()).toEqual(['shop0', 'shop1', 'shop2'])
    expect(all.shop1).toMatchObject({ n: 1, cookie: { expires: null } })
    await shop.clear()
    expect(await shop.length()).toBe(0)
    expect(await admin.ids()).toEqual(['admin0'])
    expect(await admin.get('admin0')).toMatchObject({ role: 'root' })
    await admin.clear()
  })

  test('ids and clear handle more sessions than one page', async () => {
    const { set, ids, clear, length } = newStore({ name: 'many' })
    await Promise.all(Array.from({ length: 1234 }, (_, n) => set(`many${n}`, plain())))
    expect(new Set(await ids()).size).toBe(1234)
    await clear()
    expect(await length()).toBe(0)
  })

  test('set with a plain copy creates or replaces; set with the object from get merges into its row', async () => {
    const { get, set, destroy } = newStore()
    await set('copy', plain({ a: 1 }))
    const [one, other] = [await get('copy'), await get('copy')]
    await set('copy', { ...one, b: 2 })
    await set('copy', Object.assign(other as Data, { c: 3 }))
    const { cookie, ...data } = (await get('copy')) as Data
    expect(data).toEqual({ a: 1, b: 2, c: 3 })
    const held = (await get('copy')) as Data
    await destroy('copy')
    await set('copy', held)
    expect(await get('copy')).toBeUndefined()
    await set('copy', { ...held })
    expect(await get('copy')).toMatchObject({ a: 1 })
  })

  test('a Session saved under another id is a new session', async () => {
    const { get, set, load } = newStore()
    await set('from', plain({ a: 1 }))
    const from = (await load('from')) as Data
    await set('to', from)
    expect(await get('to')).toMatchObject({ a: 1 })
  })

  test('keeps keys that a Session hides', async () => {
    const { load, set, get } = newStore()
    const shadowed = JSON.parse(
      '{"id":"mine","req":{"a":1},"save":"nope","constructor":1,"toString":[2],"__proto__":{"x":1}}',
    )
    await set('shadow', plain({ before: 1, ...shadowed, after: 2 }))
    const written = await database.query(`SELECT sess_data FROM php_session WHERE sess_id = 'shadow'`)
    const loaded = (await load('shadow')) as Data
    expect(loaded.id).toBe('shadow')
    loaded.after = 3
    delete loaded.before
    await set('shadow', loaded)
    const [row] = await database.query<{ sess_data: string }>(
      `SELECT sess_data FROM php_session WHERE sess_id = 'shadow'`,
    )
    expect(written).not.toEqual([row])
    const { cookie, ...rest } = JSON.parse(row?.sess_data ?? '')
    expect(rest).toEqual({ ...shadowed, after: 3 })
    expect(Object.keys((await get('shadow')) as object)).toContain('save')
  })

  test('set writes the data as it is at the call', async () => {
    const { store, load, get, set } = newStore()
    await set('fast', plain({ nested: { n: 0 } }))
    const loaded = (await load('fast')) as Data
    const nested = loaded.nested as { n: number }
    const saves = [1, 2, 3].map((n) => {
      nested.n = n
      return set('fast', loaded)
    })
    nested.n = 99
    const seen: unknown[] = []
    store.handler.on('conflict', () => seen.push('conflict'))
    await Promise.all(saves)
    expect(seen).toEqual([])
    expect(await get('fast')).toMatchObject({ nested: { n: 3 } })
  })

  test('a failed save does not affect the next one', async () => {
    const { load, get, set } = newStore()
    await set('bad', plain({ a: 1 }))
    const loaded = (await load('bad')) as Data
    loaded.b = 2
    loaded.big = 1n
    const first = set('bad', loaded)
    delete loaded.big
    const second = set('bad', loaded)
    await expect(first).rejects.toMatchObject({ code: 'INVALID_DATA' })
    await second
    expect(await get('bad')).toMatchObject({ a: 1, b: 2 })
  })

  test('data that is not an object is an error, never an empty session', async () => {
    const { get, set } = newStore()
    await set('odd', plain())
    for (const text of ['[1]', '7', 'null', '{']) {
      await database.query(`UPDATE php_session SET sess_data = $1 WHERE sess_id = 'odd'`, [text])
      await expect(get('odd')).rejects.toMatchObject({ code: 'UNDECODABLE' })
    }
  })

  test('no error has the code ENOENT, which express-session takes for "no session"', async () => {
    const missing = Object.assign(new Error('open key.pem'), { code: 'ENOENT' })
    const codec = {
      name: 'encrypted',
      encode: (data: object) => JSON.stringify(data),
      decode: () => {
        throw missing
      },
    }
    const { set, get } = newStore({ codec })
    await set('sealed', plain())
    const error = await get('sealed').catch((reason) => reason)
    expect(error).toBeInstanceOf(SessionPgsqlError)
    expect(error.code).not.toBe('ENOENT')
    const away = newStore({ db: 'host=/nonexistent dbname=d user=u' })
    expect(await away.get('any').catch((reason) => reason.code)).toBe('SERVER_DOWN')
  })

  test('counts one access for each request and id, and stores req.ip as the address', async () => {
    const { store } = newStore()
    const app = express()
    app.set('trust proxy', true)
    app.use(session({ store, secret: 's', resave: false, saveUninitialized: false }))
    app.get('/', (req, res, next) => {
      req.session.n = Number(req.session.n ?? 0) + 1
      req.session.save((error) => {
        if (error) return next(error)
        req.session.m = req.session.n
        res.send(req.sessionID)
      })
    })
    const site = await listen(app)
    closing.push(site)
    const browser = new Browser(site.url)
    await browser.get('/', { 'x-forwarded-for': '203.0.113.7' })
    await browser.get('/', { 'x-forwarded-for': '2001:db8::7' })
    expect(await store.handler.info(browser.id())).toMatchObject({
      accesses: 2,
      addressCreated: '203.0.113.7',
      addressModified: '2001:db8::7',
      name: 'connect.sid',
    })
  })

  test('two session() middlewares with one handler do not affect each other', async () => {
    const handler = new SaveHandler({ ...optionsFor(database), shortCircuit: true })
    closing.push(handler)
    const stores = ['shop.sid', 'admin.sid'].map((name) => new PgsqlStore({ handler, name }))
    const app = express()
    for (const [index, path] of ['/shop', '/admin'].entries()) {
      const name = `${path.slice(1)}.sid`
      const store = stores[index] as PgsqlStore
      app.use(
        path,
        session({
          store,
          name,
          secret: 's',
          resave: false,
          saveUninitialized: false,
          cookie: { maxAge: (index + 1) * 600_000 },
        }),
        (req, res) => {
          req.session.where = path
          res.send(String(req.session.cookie.originalMaxAge))
        },
      )
    }
    const site = await listen(app)
    closing.push(site)
    const browser = new Browser(site.url)
    expect(Number(await browser.text('/shop'))).toBeCloseTo(600_000, -3)
    expect(Number(await browser.text('/admin'))).toBeCloseTo(1_200_000, -3)
    const [shop, admin] = stores.map(promised)
    expect(await shop?.ids()).toEqual([browser.id('shop.sid')])
    expect(await admin?.ids()).toEqual([browser.id('admin.sid')])
    await stores[0]?.close()
    expect(await admin?.length()).toBe(1)
  })

  test('an error thrown by a callback reaches the process once, without an unhandled rejection', async () => {
    if (server.kind === 'pglite') {
      // PGlite runs in this process: the worker could not use it.
      expect(typeof database.db).toBe('object')
      return
    }
    const module = new URL('./workers/throwing-callback.ts', import.meta.url)
    const [seen] = await runWorkers(module, [{ db: database.db }])
    expect(seen).toEqual({
      exceptions: ['get', 'set', 'touch', 'destroy', 'all', 'ids', 'length', 'clear', 'get of nothing'],
      rejections: [],
    })
  })
})

test('rejects invalid options', () => {
  const handler = new SaveHandler({ db: 'host=nowhere' })
  const refused = (options: object) => {
    try {
      new PgsqlStore(options)
    } catch (error) {
      return (error as SessionPgsqlError).code
    }
    return 'taken'
  }
  expect(refused({ handler, shortCircuit: true })).toBe('INVALID_OPTION')
  expect(refused({ handler: {} })).toBe('INVALID_OPTION')
  expect(refused({ handler, name: '' })).toBe('INVALID_OPTION')
  expect(refused({ handler, gcMaxlifetime: 0 })).toBe('INVALID_OPTION')
  expect(refused({ conString: 'host=db' })).toBe('INVALID_OPTION')
  expect(refused({ handler, name: 'n', gcMaxlifetime: 60 })).toBe('taken')
})

test('the adapter has its own defaults, and settings of the user override them', () => {
  const settings = (options: object) =>
    new PgsqlStore({ db: 'host=nowhere', ...options }).handler.status().settings
  expect(settings({})).toMatchObject({ shortCircuit: true, name: 'connect.sid', gcMaxlifetime: 86_400 })
  process.env.SESSION_PGSQL_SHORT_CIRCUIT = 'off'
  try {
    expect(settings({ name: 'mine' })).toMatchObject({ shortCircuit: false, name: 'mine' })
  } finally {
    delete process.env.SESSION_PGSQL_SHORT_CIRCUIT
  }
})
