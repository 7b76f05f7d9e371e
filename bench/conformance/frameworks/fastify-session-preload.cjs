/**
 * Preloaded before each test file of @fastify/session. It replaces the module of TestStore with a PgsqlStore, and
 * registers the plugin pgsqlSession wherever a test uses such a store. The plugin uses the checkout's
 * @fastify/session.
 */
const { randomBytes } = require('node:crypto')
const Module = require('node:module')
const { join } = require('node:path')
const { after } = require('node:test')

const folder = process.cwd()
const original = require(folder)
const resolve = Module._resolveFilename
Module._resolveFilename = (name, ...others) =>
  name === '@fastify/session' ? join(folder, 'the original') : resolve(name, ...others)
require.cache[join(folder, 'the original')] = { exports: original, loaded: true }

const { PgsqlStore, pgsqlSession } = require('session-pgsql/fastify')
const driver = Module.createRequire(require.resolve('session-pgsql/package.json'))
const url = process.env.SESSION_PGSQL_CONFORMANCE_DB
const db =
  url === 'pglite'
    ? new (driver('@electric-sql/pglite').PGlite)()
    : new (driver('pg').Pool)({ connectionString: url })

let stores = 0
let calls = () => 0

class TestStore extends PgsqlStore {
  #added

  /** @param sessions a Map to which a test adds sessions directly */
  constructor(sessions = new Map()) {
    super({ db, table: `sessions_${randomBytes(6).toString('hex')}`, gcInterval: 0 })
    this.#added = sessions
    stores++
    const before = calls
    calls = () => before() + this.handler.status().servers[0].calls
  }

  get(id, callback) {
    const session = this.#added.get(id)
    if (session === undefined) return super.get(id, callback)
    this.#added.delete(id)
    this.handler.write(id, session).then(() => super.get(id, callback), callback)
  }
}

const testStore = join(folder, 'test/TestStore.js')
require(testStore)
require.cache[testStore].exports = TestStore

function session(fastify, options, done) {
  if (!(options.store instanceof PgsqlStore)) return original(fastify, options, done)
  pgsqlSession(fastify, options).then(() => done(), done)
}
Object.assign(session, original)
for (const symbol of Object.getOwnPropertySymbols(original)) session[symbol] = original[symbol]
require.cache[join(folder, require(join(folder, 'package.json')).main)].exports = session

after(async () => {
  if (stores > 0) console.log(`${stores} stores, ${calls()} statements and transactions`)
  await (db.end?.() ?? db.close())
})
