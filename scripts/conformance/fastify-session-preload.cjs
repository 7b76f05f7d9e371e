/**
 * Loaded before each file of @fastify/session's tests: puts a store of ours where TestStore is loaded from, and our
 * plugin where it is registered with such a store. The plugin is on the @fastify/session of the checkout.
 */
const { randomBytes } = require('node:crypto')
const Module = require('node:module')
const { join } = require('node:path')
const { after } = require('node:test')

const folder = process.cwd()
const theirs = require(folder)
const resolve = Module._resolveFilename
Module._resolveFilename = (name, ...others) =>
  name === '@fastify/session' ? join(folder, 'the original') : resolve(name, ...others)
require.cache[join(folder, 'the original')] = { exports: theirs, loaded: true }

const { PgsqlStore, pgsqlSession } = require('session-pgsql/fastify')
const driver = Module.createRequire(require.resolve('session-pgsql/package.json'))
const url = process.env.SESSION_PGSQL_CONFORMANCE_DB
const db =
  url === 'pglite'
    ? new (driver('@electric-sql/pglite').PGlite)()
    : new (driver('pg').Pool)({ connectionString: url })

let stores = 0
let calls = () => 0

class StoreInPostgres extends PgsqlStore {
  #put

  /** A test puts a session into the map of its store. */
  constructor(sessions = new Map()) {
    super({ db, table: `sessions_${randomBytes(6).toString('hex')}`, gcInterval: 0 })
    this.#put = sessions
    stores++
    const before = calls
    calls = () => before() + this.handler.status().servers[0].calls
  }

  get(id, callback) {
    const put = this.#put.get(id)
    if (put === undefined) return super.get(id, callback)
    this.#put.delete(id)
    this.handler.write(id, put).then(() => super.get(id, callback), callback)
  }
}

const place = join(folder, 'test/TestStore.js')
require(place)
require.cache[place].exports = StoreInPostgres

function session(fastify, options, done) {
  if (!(options.store instanceof PgsqlStore)) return theirs(fastify, options, done)
  pgsqlSession(fastify, options).then(() => done(), done)
}
Object.assign(session, theirs)
for (const symbol of Object.getOwnPropertySymbols(theirs)) session[symbol] = theirs[symbol]
require.cache[join(folder, require(join(folder, 'package.json')).main)].exports = session

after(async () => {
  if (stores > 0) console.log(`${stores} stores, ${calls()} statements and transactions`)
  await (db.end?.() ?? db.close())
})
