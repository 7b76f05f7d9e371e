import connectPgSimple from 'connect-pg-simple'
import session from 'express-session'
import pg from 'pg'
import type { Contestant, ContestantOptions, Where } from './contestant.ts'
import { storeContestant } from './stores.ts'

/**
 * connect-pg-simple on the same server, its own table. `own.prepared`: on a pool of 10 that gives every statement
 * a name, for the store itself has no setting for that; otherwise as it comes, which is a pool of 10, too.
 */
export default async function make(options: ContestantOptions): Promise<Contestant> {
  const PgStore = connectPgSimple(session)
  const common = { createTableIfMissing: true, pruneSessionInterval: false } as const
  if (options.own?.prepared !== true) {
    const store = new PgStore({ ...common, conObject: options.where })
    return storeContestant(store, options, async () => store.close())
  }
  const pool = new PreparingPool({ ...options.where, max: 10 })
  const store = new PgStore({ ...common, pool: pool as unknown as pg.Pool })
  return storeContestant(store, options, async () => {
    store.close()
    await pool.end()
  })
}

/** The store creates its table itself, when it is first used. */
export async function createTable(where: Where): Promise<void> {
  const PgStore = connectPgSimple(session)
  const store = new PgStore({ createTableIfMissing: true, pruneSessionInterval: false, conObject: where })
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
