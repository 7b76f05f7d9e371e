import type { Database } from '../database/database.ts'
import type { PgliteLike, PoolConfigLike, PoolLike } from '../database/drivers.ts'
import { NodePostgres } from '../database/node-postgres.ts'
import { Pglite } from '../database/pglite.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { DatabaseEntry } from '../settings/settings.ts'
import { Group, type Promotion } from './group.ts'

/** Makes what an entry of `db` names. The drivers are loaded here, when they are first needed. */
export async function connect(
  entry: DatabaseEntry,
  settings: { readonly poolSize: number; readonly operationTimeout: number },
  onPromotion: (promotion: Promotion) => void,
): Promise<Database> {
  switch (entry.kind) {
    case 'pool':
      return new NodePostgres(entry.pool, false)
    case 'pglite':
      return new Pglite(entry.instance, false)
    case 'pgliteFolder':
      return new Pglite(await openPglite(entry.folder), true)
    case 'poolConfig':
      return new NodePostgres(await newPool(entry.config, settings), true)
    case 'conninfo':
      return new Group(entry.conninfo, settings, onPromotion)
  }
}

async function newPool(
  config: PoolConfigLike,
  { poolSize, operationTimeout }: { readonly poolSize: number; readonly operationTimeout: number },
): Promise<PoolLike> {
  const { default: pg } = await import('pg')
  // A password that is not enumerable would not survive a spread. Without a time limit, connections that nobody
  // answers would use up the pool for good.
  const defaults = { max: poolSize, connectionTimeoutMillis: operationTimeout * 1000 }
  return new pg.Pool(Object.assign(Object.create(config), defaults, config) as object) as unknown as PoolLike
}

async function openPglite(folder: string | undefined): Promise<PgliteLike> {
  let module: typeof import('@electric-sql/pglite')
  try {
    module = await import('@electric-sql/pglite')
  } catch (cause) {
    throw new SessionPgsqlError(
      'INVALID_OPTION',
      'The embedded database needs the package @electric-sql/pglite: npm install @electric-sql/pglite.',
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
      'The embedded database does not start. Is its folder in use by another process, or not its own?',
      { cause },
    )
  }
}
