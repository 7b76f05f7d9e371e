/**
 * Preloaded by mocha in a checkout of express-session. It replaces the module of MemoryStore, so that every store of
 * the tests is a PgsqlStore, including the default store.
 */
const { createRequire } = require('node:module')
const { join } = require('node:path')
const { PgsqlStore } = require('session-pgsql/express')

/** Loads the drivers that session-pgsql uses. */
const driver = createRequire(require.resolve('session-pgsql/package.json'))

const url = process.env.SESSION_PGSQL_CONFORMANCE_DB
const db =
  url === 'pglite'
    ? new (driver('@electric-sql/pglite').PGlite)()
    : new (driver('pg').Pool)({ connectionString: url })
let tables = 0
let calls = () => 0

class TestStore extends PgsqlStore {
  constructor() {
    tables++
    super({ db, table: `sessions_${tables}`, gcInterval: 0 })
    const before = calls
    calls = () => before() + this.handler.status().servers[0].calls
  }
}

const memoryStore = join(process.cwd(), 'session', 'memory.js')
require(memoryStore)
require.cache[memoryStore].exports = TestStore

exports.mochaHooks = {
  async beforeAll() {
    // PGlite takes seconds to start: start it before the first test, whose time is limited.
    this.timeout(60_000)
    await db.query('SELECT 1')
  },
  async afterAll() {
    console.log(`    ${tables} stores, ${calls()} statements and transactions`)
    await (db.end?.() ?? db.close())
  },
}
