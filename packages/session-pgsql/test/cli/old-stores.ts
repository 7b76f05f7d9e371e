import connectPgSimple from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import { ConnectSessionKnexStore } from 'connect-session-knex'
import session, { type Store } from 'express-session'
import knex from 'knex'
import { createClient } from 'redis'

/** A store that sites come from, as it is set up by its own documentation. */
export interface OldStore {
  readonly store: Store
  /** What `import` is told. */
  readonly flags: readonly string[]
  /** When a session expires, in seconds since 1970; undefined if it is not there. */
  expiry(id: string): Promise<number | undefined>
  /** Puts something there that this store would not. */
  spoil(id: string): Promise<void>
  close(): Promise<void>
}

/** @param db where its table lies @param where a Redis, for the one that needs it */
type Make = (db: string, where: { redisPort: number }) => Promise<OldStore>

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
      flags: ['--from', 'connect-pg-simple'],
      async expiry(id) {
        const { rows } = await tools.raw(
          "SELECT extract(epoch FROM expire AT TIME ZONE current_setting('TimeZone'))::float8 AS at FROM session WHERE sid = ?",
          [id],
        )
        return rows[0]?.at
      },
      async spoil(id) {
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
      flags: ['--from', 'connect-session-knex'],
      async expiry(id) {
        const { rows } = await tools.raw(
          'SELECT extract(epoch FROM expired)::float8 AS at FROM sessions WHERE sid = ?',
          [id],
        )
        return rows[0]?.at
      },
      async spoil(id) {
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
      flags: ['--from', 'connect-redis', '--source', url],
      async expiry(id) {
        const at = await client.pExpireTime(`sess:${id}`)
        return at < 0 ? undefined : at / 1000
      },
      async spoil(id) {
        await client.set(`sess:${id}`, 'O:8:"stdClass"', { expiration: { type: 'EX', value: 3600 } })
      },
      close: () => client.close(),
    }
  },
}
