import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import { expect, test } from 'vitest'
import type { NodePostgresConfig, PgliteLike, PoolConfigLike, PoolLike } from '../../src/database/drivers.ts'
import type { SaveHandlerOptions } from '../../src/settings/settings.ts'

/**
 * The structures in drivers.ts are pinned to the real libraries here: the assignments below are checked by
 * `npm run check:types`, for a version of either library that does not fit must not go unnoticed.
 */
declare const pool: pg.Pool
declare const poolConfig: pg.PoolConfig
declare const pglite: PGlite
declare const ours: NodePostgresConfig

export const pinned = () => {
  const poolLike: PoolLike = pool
  const configLike: PoolConfigLike = poolConfig
  const pgliteLike: PgliteLike = pglite
  const config: pg.PoolConfig = ours
  const options: SaveHandlerOptions[] = [
    { db: pool },
    { db: poolConfig },
    { db: pglite },
    { db: [pool, poolConfig, pglite, 'host=a', new URL('postgresql://a')] },
    { db: { host: 'a', password: async () => 'x', ssl: { rejectUnauthorized: true }, idleTimeoutMillis: 5 } },
  ]
  // @ts-expect-error a single connection is no pool
  const client: SaveHandlerOptions = { db: new pg.Client() }
  // @ts-expect-error a number is no database
  const wrong: SaveHandlerOptions = { db: 5 }
  return [poolLike, configLike, pgliteLike, config, options, client, wrong]
}

test('the methods that the structures name are there', async () => {
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
