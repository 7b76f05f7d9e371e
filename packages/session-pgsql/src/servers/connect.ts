import type { Database } from '../database/database.ts'
import type { PgliteLike, PoolConfigLike, PoolLike } from '../database/drivers.ts'
import { NodePostgres } from '../database/node-postgres.ts'
import { Pglite } from '../database/pglite.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { DatabaseEntry } from '../settings/settings.ts'
import { Group, type Promotion } from './group.ts'

/** Connects to the database of an entry of `db`. Loads its driver at the first use. */
export async function connect(
  entry: DatabaseEntry,
  settings: { readonly poolSize: number; readonly operationTimeout: number },
  onPromotion: (promotion: Promotion) => void,
): Promise<Database> {
  switch (entry.kind) {
    case 'pool':
      return new NodePostgres(entry.pool, false, (max) => poolLike(entry.pool, max))
    case 'pglite':
      return new Pglite(entry.instance, false)
    case 'pgliteFolder':
      return new Pglite(await openPglite(entry.folder), true)
    case 'poolConfig':
      return nodePostgres(entry.config, settings)
    case 'conninfo':
      return new Group(entry.conninfo, settings, onPromotion)
  }
}

async function nodePostgres(
  config: PoolConfigLike,
  { poolSize, operationTimeout }: { readonly poolSize: number; readonly operationTimeout: number },
): Promise<NodePostgres> {
  const { default: pg } = await import('pg')
  // The timeout, because connection attempts that are never answered would exhaust the pool for good.
  const defaults = { max: poolSize, connectionTimeoutMillis: operationTimeout * 1000 }
  const pool = new pg.Pool(withOptions(config, { ...defaults, ...config })) as unknown as PoolLike
  return new NodePostgres(pool, true, (max) => poolLike(pool, max))
}

/** Returns a pool with the options of another one. */
function poolLike(pool: PoolLike, max: number): PoolLike {
  const Pool = pool.constructor as new (options: object) => PoolLike
  return new Pool(withOptions(pool.options, { ...pool.options, min: 0, max }))
}

/** Object.create, because object spread would lose a password that is not enumerable. */
function withOptions(config: object, options: object): object {
  return Object.assign(Object.create(config), options)
}

async function openPglite(folder: string | undefined): Promise<PgliteLike> {
  let module: typeof import('@electric-sql/pglite')
  try {
    module = await import('@electric-sql/pglite')
  } catch (cause) {
    throw new SessionPgsqlError(
      'INVALID_OPTION',
      'The embedded database needs the package @electric-sql/pglite. Install it with: npm install @electric-sql/pglite',
      { cause },
    )
  }
  try {
    return (await module.PGlite.create(
      folder === undefined ? {} : { dataDir: folder },
    )) as unknown as PgliteLike
  } catch (cause) {
    throw new SessionPgsqlError(
      'SERVER_DOWN',
      'Cannot start the embedded database. The data directory may be in use by another process, or may not be a PGlite directory.',
      { cause },
    )
  }
}
