import { PGlite } from '@electric-sql/pglite'
import type { Pool as NeonPool } from '@neondatabase/serverless'
import pg from 'pg'
import type postgres from 'postgres'
import { expect, test } from 'vitest'
import type { NodePostgresConfig, PgliteLike, PoolConfigLike, PoolLike } from '../../src/database/drivers.ts'
import type { SaveHandlerOptions } from '../../src/settings/settings.ts'

/**
 * Checks the types in drivers.ts against those of the real packages. `npm run check:types` compiles the assignments
 * below, and fails if a version of either package does not fit.
 */
declare const pool: pg.Pool
declare const poolConfig: pg.PoolConfig
declare const pglite: PGlite
declare const neonPool: NeonPool
declare const sql: postgres.Sql
declare const libraryConfig: NodePostgresConfig

export const pinned = () => {
  const poolLike: PoolLike = pool
  const configLike: PoolConfigLike = poolConfig
  const pgliteLike: PgliteLike = pglite
  const config: pg.PoolConfig = libraryConfig
  const options: SaveHandlerOptions[] = [
    { db: pool },
    { db: poolConfig },
    { db: pglite },
    { db: neonPool },
    { db: sql },
    { db: [pool, poolConfig, pglite, 'host=a', new URL('postgresql://a')] },
    { db: { host: 'a', password: async () => 'x', ssl: { rejectUnauthorized: true }, idleTimeoutMillis: 5 } },
  ]
  // @ts-expect-error a single connection is not a pool
  const client: SaveHandlerOptions = { db: new pg.Client() }
  // @ts-expect-error a misspelt option of node-postgres
  const misspelt: SaveHandlerOptions = { db: { host: 'a', databse: 'x' } }
  // Every option that the types of node-postgres name is known.
  const known: keyof PoolConfigLike = '' as keyof pg.PoolConfig
  // @ts-expect-error a number is not a database
  const wrong: SaveHandlerOptions = { db: 5 }
  return [poolLike, configLike, pgliteLike, config, options, client, misspelt, known, wrong]
}

test('node-postgres and PGlite have the methods that drivers.ts names', async () => {
  const real = new pg.Pool()
  for (const method of ['connect', 'query', 'end', 'on', 'removeListener'] as const) {
    expect(real[method]).toBeTypeOf('function')
  }
  expect(real.totalCount).toBe(0)
  await real.end()
  for (const method of ['query', 'exec', 'transaction', 'close'] as const) {
    expect(PGlite.prototype[method]).toBeTypeOf('function')
  }
})
