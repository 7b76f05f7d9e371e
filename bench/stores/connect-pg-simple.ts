import connectPgSimple from 'connect-pg-simple'
import session from 'express-session'
import pg from 'pg'
import { expressStore } from './express-store.ts'
import type { BenchStore, ConnectionConfig, StoreOptions } from './store.ts'

/**
 * connect-pg-simple on the same server, with its own table and its default pool of 10 connections. `own.prepared`:
 * with a pool of 10 that names every statement, since the store has no setting for prepared statements.
 */
export default async function make(options: StoreOptions): Promise<BenchStore> {
  const PgStore = connectPgSimple(session)
  const common = { createTableIfMissing: true, pruneSessionInterval: false } as const
  if (options.own?.prepared !== true) {
    const store = new PgStore({ ...common, conObject: options.connection })
    return expressStore(store, options, async () => store.close())
  }
  const pool = new PreparingPool({ ...options.connection, max: 10 })
  const store = new PgStore({ ...common, pool: pool as unknown as pg.Pool })
  return expressStore(store, options, async () => {
    store.close()
    await pool.end()
  })
}

/** Creates the table, which the store does at its first use. */
export async function createTable(connection: ConnectionConfig): Promise<void> {
  const PgStore = connectPgSimple(session)
  const store = new PgStore({
    createTableIfMissing: true,
    pruneSessionInterval: false,
    conObject: connection,
  })
  await new Promise<void>((resolve, reject) =>
    store.get('none', (error) => (error ? reject(error) : resolve())),
  )
  await store.close()
}

class PreparingPool {
  readonly #pool: pg.Pool
  readonly #names = new Map<string, string>()

  constructor(config: pg.PoolConfig) {
    this.#pool = new pg.Pool(config)
  }

  query(text: string, values: unknown[]): Promise<pg.QueryResult> {
    let name = this.#names.get(text)
    if (name === undefined) {
      name = `statement_${this.#names.size}`
      this.#names.set(text, name)
    }
    return this.#pool.query({ name, text, values })
  }

  end(): Promise<void> {
    return this.#pool.end()
  }
}
