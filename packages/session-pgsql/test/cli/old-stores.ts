import connectPgSimple from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import { ConnectSessionKnexStore } from 'connect-session-knex'
import session, { type Store } from 'express-session'
import knex from 'knex'
import { createClient } from 'redis'

/** A session store to import from, set up as its documentation says. */
export interface OldStore {
  readonly store: Store
  /** Options of the `import` command for this store. */
  readonly options: readonly string[]
  /** Returns the expiry of a session in seconds since 1970; undefined if the session does not exist. */
  expiry(id: string): Promise<number | undefined>
  /** Writes a session that this store would not write. */
  corrupt(id: string): Promise<void>
  close(): Promise<void>
}

/** @param db database of the store's table @param redis port of the Redis server, for connect-redis */
type Make = (db: string, redis: { redisPort: number }) => Promise<OldStore>

export const OLD_STORES: Record<string, Make> = {
  async 'connect-pg-simple'(db) {
    const PgStore = connectPgSimple(session)
    const store = new PgStore({
      conString: db,
      createTableIfMissing: true,
      pruneSessionInterval: false,
    })
    const tools = knex({ client: 'pg', connection: db })
    return {
      store,
      options: ['--from', 'connect-pg-simple'],
      async expiry(id) {
        const { rows } = await tools.raw(
          "SELECT extract(epoch FROM expire AT TIME ZONE current_setting('TimeZone'))::float8 AS at FROM session WHERE sid = ?",
          [id],
        )
        return rows[0]?.at
      },
      async corrupt(id) {
        await tools.raw(`INSERT INTO session VALUES (?, '"text"', now() + interval '1 hour')`, [id])
      },
      async close() {
        store.close()
        await tools.destroy()
      },
    }
  },

  async 'connect-session-knex'(db) {
    const tools = knex({ client: 'pg', connection: db })
    const store = new ConnectSessionKnexStore({ knex: tools, cleanupInterval: 0 })
    return {
      store: store as unknown as Store,
      options: ['--from', 'connect-session-knex'],
      async expiry(id) {
        const { rows } = await tools.raw(
          'SELECT extract(epoch FROM expired)::float8 AS at FROM sessions WHERE sid = ?',
          [id],
        )
        return rows[0]?.at
      },
      async corrupt(id) {
        await tools.raw(`INSERT INTO sessions VALUES (?, '"text"', now() + interval '1 hour')`, [id])
      },
      close: () => tools.destroy(),
    }
  },

  async 'connect-redis'(_db, { redisPort }) {
    const url = `redis://127.0.0.1:${redisPort}`
    const client = createClient({ url })
    await client.connect()
    await client.flushAll()
    return {
      store: new RedisStore({ client }),
      options: ['--from', 'connect-redis', '--source', url],
      async expiry(id) {
        const at = await client.pExpireTime(`sess:${id}`)
        return at < 0 ? undefined : at / 1000
      },
      async corrupt(id) {
        await client.set(`sess:${id}`, 'O:8:"stdClass"', { expiration: { type: 'EX', value: 3600 } })
      },
      close: () => client.close(),
    }
  },
}
