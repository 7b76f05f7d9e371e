/**
 * Loaded by mocha inside a checkout of express-session: puts a class of ours where its MemoryStore is
 * loaded from, so that the tests' stores and the one that it makes by default are both ours.
 */
const { createRequire } = require('node:module')
const { join } = require('node:path')
const { PgsqlStore } = require('session-pgsql/express')

/** The drivers are those of the package. */
const driver = createRequire(require.resolve('session-pgsql/package.json'))

const url = process.env.SESSION_PGSQL_CONFORMANCE_DB
const db =
  url === 'pglite'
    ? new (driver('@electric-sql/pglite').PGlite)()
    : new (driver('pg').Pool)({ connectionString: url })
let tables = 0
let calls = () => 0

class StoreInPostgres extends PgsqlStore {
  constructor() {
    tables++
    super({ db, table: `sessions_${tables}`, gcInterval: 0 })
    const before = calls
    calls = () => before() + this.handler.status().servers[0].calls
  }
}

const place = join(process.cwd(), 'session', 'memory.js')
require(place)
require.cache[place].exports = StoreInPostgres

exports.mochaHooks = {
  async beforeAll() {
    // PGlite starts in seconds, and the first test should not pay for it.
    this.timeout(60_000)
    await db.query('SELECT 1')
  },
  async afterAll() {
    console.log(`    ${tables} stores, ${calls()} statements and transactions`)
    await (db.end?.() ?? db.close())
  },
}
