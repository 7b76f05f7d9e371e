import { neonConfig, Pool } from '@neondatabase/serverless'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { SaveHandler } from '../../src/index.ts'
import { type Driver, id as newId, useDriver } from '../handler/kit.ts'
import { describeOnEveryServer } from '../support/servers.ts'
import { eventually, until } from '../support/wait.ts'
import { startWebSocketProxy } from '../support/websocket-proxy.ts'
import { importSuites } from './suites.ts'

/** The handler's contract by Neon's serverless driver: every connection is a WebSocket to a proxy on loopback. */
const proxy = await startWebSocketProxy()
neonConfig.webSocketConstructor = WebSocket
neonConfig.wsProxy = (host, port) => `${proxy.address}?address=${host}:${port}`
neonConfig.useSecureWebSocket = false
// Neon's servers ask for a clear-text password, the tests' servers for none.
neonConfig.pipelineConnect = false

function neonDriver(): Driver {
  const pools: Pool[] = []
  return {
    connect(connectionString) {
      const pool = new Pool({ connectionString, max: 20 })
      pools.push(pool)
      return pool
    },
    async close() {
      await Promise.all(pools.splice(0).map((pool) => pool.end()))
    },
  }
}

afterAll(() => proxy.stop())

// Not in `describe`, whose function runs after the file was imported.
useDriver(neonDriver())

describe("Neon's serverless driver", () => {
  describeOnEveryServer(
    'over WebSockets',
    (server) => {
      test('a statement that waits for a lock ends at the deadline, and the connection is free again', async () => {
        const { db, query } = await server.freshDatabase()
        const pool = new Pool({ connectionString: db as string, max: 2 })
        const sessions = new SaveHandler({ db: pool, gcInterval: 0, operationTimeout: 1 })
        const id = newId()
        await sessions.write(id, { n: 1 })
        const locker = await pool.connect()
        await locker.query('BEGIN')
        await locker.query('SELECT 1 FROM php_session FOR UPDATE')
        await expect(sessions.write(id, { n: 2 })).rejects.toMatchObject({ code: 'TIMEOUT' })
        // The cancel request is a WebSocket, too.
        await until(async () => {
          const [row] = await query<{ count: number }>(
            "SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
          )
          return row?.count === 0
        }, 'the statement is canceled')
        await locker.query('ROLLBACK')
        locker.release()
        expect((await sessions.write(id, { n: 3 })).outcome).toBe('updated')
        expect((await sessions.read(id))?.data).toEqual({ n: 3 })
        await sessions.close()
        await pool.end()
      })

      test('a proxy that drops every connection fails calls, not the process', async () => {
        const { db } = await server.freshDatabase()
        const pool = new Pool({ connectionString: db as string, max: 4 })
        const sessions = new SaveHandler({ db: pool, gcInterval: 0, operationTimeout: 5 })
        const id = newId()
        await sessions.write(id, { n: 0 })
        const before = proxy.accepted
        for (let round = 1; round <= 5; round++) {
          const writing = sessions.write(id, { n: round }).catch((error) => error)
          proxy.drop()
          await writing
          // A connection whose end this process has not heard of yet may fail one more call.
          await eventually(() => sessions.read(id))
        }
        expect((await sessions.write(id, { n: 9 })).outcome).toBe('updated')
        expect(proxy.accepted).toBeGreaterThan(before)
        await sessions.close()
        await pool.end()
      })
    },
    ['postgres'],
  )
})

await importSuites()
