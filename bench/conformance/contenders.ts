import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import connectPgSimple from 'connect-pg-simple'
import { RedisStore } from 'connect-redis'
import session, { MemoryStore } from 'express-session'
import pg from 'pg'
import { createClient } from 'redis'
import { PgsqlStore, pgsqlSession } from 'session-pgsql/express'
import { type CallbackStore, expressPlace } from 'session-pgsql/testing'
import type { PostgresServer } from '../../packages/session-pgsql/test/support/postgres.ts'
import { startProxy } from '../../packages/session-pgsql/test/support/proxy.ts'
import type { Redis } from '../programs.ts'
import { type Contender, postgresContender } from './postgres.ts'

/** The stores that are held against the suite, each as its own documentation advises, and at its best. */

export function sessionPgsql(server: PostgresServer): Promise<Contender> {
  return postgresContender(
    {
      name: 'session-pgsql',
      version: versionOf('session-pgsql'),
      table: 'php_session',
      dataColumn: 'sess_data',
      expiryColumn: 'sess_expire',
      earlier: 'sess_expire - $1::int',
      open(where, { timeout }) {
        const store = new PgsqlStore({ db: where, gcInterval: 0, operationTimeout: timeout, logger: false })
        return {
          store: store as unknown as CallbackStore,
          close: () => store.close(),
          signedIn: (request, user) => pgsqlSession(request).setField(user),
          users: {
            count: async (user) => (await store.handler.findByField(user)).length,
            signOut: async (user) => void (await store.handler.destroyByField(user)),
          },
        }
      },
    },
    server,
  )
}

/** With node-postgres' own time limits; the store has none. */
export function connectPgSimpleContender(server: PostgresServer): Promise<Contender> {
  const PgStore = connectPgSimple(session)
  return postgresContender(
    {
      name: 'connect-pg-simple',
      version: versionOf('connect-pg-simple'),
      table: 'session',
      dataColumn: 'sess',
      expiryColumn: 'expire',
      earlier: `expire - $1 * interval '1 second'`,
      open(where, { timeout }) {
        const limit = timeout * 1000
        const pool = new pg.Pool({ ...where, connectionTimeoutMillis: limit, query_timeout: limit })
        pool.on('error', () => {})
        const store = new PgStore({
          pool,
          createTableIfMissing: true,
          pruneSessionInterval: false,
          errorLog: () => {},
        })
        return { store: store as unknown as CallbackStore, close: () => pool.end() }
      },
    },
    server,
  )
}

/** On node-redis, which shall fail while it is offline instead of waiting, and notice when nothing comes back. */
export async function connectRedis(redis: Redis): Promise<Contender> {
  const proxy = await startProxy({ host: '127.0.0.1', port: redis.port })
  const admin = await createClient({ socket: { host: '127.0.0.1', port: redis.port } }).connect()
  const zone = process.env.TZ
  const place = (prefix: string) =>
    expressPlace(session, async ({ timeout }) => {
      const limit = timeout * 1000
      const client = createClient({
        socket: {
          host: proxy.host,
          port: proxy.port,
          connectTimeout: limit,
          socketTimeout: limit,
          // By default it gives up for good after a socketTimeout.
          reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, 2000),
        },
        pingInterval: limit / 3,
        disableOfflineQueue: true,
      })
      client.on('error', () => {})
      // As its documentation shows; where Redis is away, it goes on trying by itself.
      await Promise.race([client.connect().catch(() => {}), sleep(limit)])
      const store = new RedisStore({ client, prefix })
      return { store: store as unknown as CallbackStore, close: () => client.destroy() }
    })
  const backAgain = async () => {
    proxy.drop()
    await proxy.resume()
  }
  const commands = ['get', 'set', 'expire', 'del']
  const permit = async (sign: '+' | '-') => {
    await admin.sendCommand(['ACL', 'SETUSER', 'default', ...commands.map((command) => sign + command)])
  }
  let places = 0

  return {
    version: versionOf('connect-redis'),
    subject: {
      name: 'connect-redis',
      ...place('sess:'),
      async passTime(seconds) {
        for await (const keys of admin.scanIterator({ MATCH: 'sess:*' })) {
          for (const key of keys) await admin.pExpire(key, (await admin.pTTL(key)) - seconds * 1000)
        }
      },
      async fingerprint() {
        const lines = (await admin.info('commandstats')).split('\r\n')
        return lines
          .filter((line) => /^cmdstat_(set|expire|del):/.test(line))
          .map((line) => line.replace(/,.*/, ''))
          .join()
      },
      faults: {
        away: {
          async begin() {
            await proxy.refuse()
            proxy.drop()
          },
          end: backAgain,
        },
        silent: { begin: async () => proxy.silence(), end: backAgain },
        failing: { begin: () => permit('-'), end: () => permit('+') },
      },
      /** Redis knows none; that of the process could matter. */
      async setTimeZone(to) {
        process.env.TZ = to
      },
      emptyPlace: async () => ({ ...place(`empty${++places}:`), async remove() {} }),
    },
    async stop() {
      if (zone === undefined) delete process.env.TZ
      else process.env.TZ = zone
      await admin.close()
      await proxy.stop()
    },
  }
}

/** express-session's own, for development. */
export async function memoryStore(): Promise<Contender> {
  const stores: { sessions: Record<string, string> }[] = []
  const alone = 'It is the memory of one process'
  const noDatabase = 'It has no database'
  return {
    version: versionOf('express-session'),
    subject: {
      name: 'MemoryStore',
      ...expressPlace(session, () => {
        const store = new MemoryStore()
        stores.push(store as never)
        return { store: store as unknown as CallbackStore }
      }),
      async passTime(seconds) {
        for (const { sessions } of stores) {
          for (const [id, text] of Object.entries(sessions)) {
            const data = JSON.parse(text)
            data.cookie.expires = new Date(Date.parse(data.cookie.expires) - seconds * 1000).toISOString()
            sessions[id] = JSON.stringify(data)
          }
        }
      },
      fingerprint: async () => JSON.stringify(stores.map(({ sessions }) => sessions)),
      cannot: {
        restart: alone,
        'two-processes': alone,
        'sign-out-processes': alone,
        'no-write': 'Its writes cost nobody anything',
        'time-zone': noDatabase,
        away: noDatabase,
        silent: noDatabase,
        failing: noDatabase,
        'away-at-start': noDatabase,
        table: noDatabase,
      },
    },
    async stop() {},
  }
}

function versionOf(name: string): string {
  const require = createRequire(import.meta.url)
  for (const folder of require.resolve.paths(name) ?? []) {
    try {
      return JSON.parse(readFileSync(`${folder}/${name}/package.json`, 'utf8')).version
    } catch {}
  }
  throw new Error(`${name} is not installed`)
}
