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
import { networkFaults } from '../../packages/session-pgsql/test/testing/network-faults.ts'
import type { Redis } from '../programs.ts'
import { onPostgres, type TestedStore } from './postgres.ts'

/** The stores under test, each configured as its own documentation recommends, with the options that help it most. */

export function sessionPgsql(server: PostgresServer): Promise<TestedStore> {
  return onPostgres(
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
          update: async (request, change) => (await pgsqlSession(request).update(change)).value,
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

/** With node-postgres' own time limits, because the store has none. */
export function connectPgSimpleStore(server: PostgresServer): Promise<TestedStore> {
  const PgStore = connectPgSimple(session)
  return onPostgres(
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

/** On node-redis, configured to fail instead of waiting while it is offline, and to notice missing replies. */
export async function connectRedis(redis: Redis): Promise<TestedStore> {
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
          // By default node-redis does not reconnect after a socketTimeout.
          reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, 2000),
        },
        pingInterval: limit / 3,
        disableOfflineQueue: true,
      })
      client.on('error', () => {})
      // As its documentation shows. If Redis is unreachable, the client keeps trying.
      await Promise.race([client.connect().catch(() => {}), sleep(limit)])
      const store = new RedisStore({ client, prefix })
      return { store: store as unknown as CallbackStore, close: () => client.destroy() }
    })
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
        ...networkFaults(() => proxy),
        failing: { begin: () => permit('-'), end: () => permit('+') },
      },
      /** Redis has no time zone. The process's could matter. */
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

/** express-session's own store, for development. */
export async function memoryStore(): Promise<TestedStore> {
  const stores: { sessions: Record<string, string> }[] = []
  const oneProcess = 'It stores sessions in the memory of one process'
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
        restart: oneProcess,
        'two-processes': oneProcess,
        'sign-out-processes': oneProcess,
        'no-write': 'Its writes cost nothing',
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
  throw new Error(`Cannot find the package ${name}. Run npm ci.`)
}
