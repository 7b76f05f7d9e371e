import { PGlite } from '@electric-sql/pglite'

/** A PGlite instance in memory, or in a folder. */
export async function startPglite(dataDir?: string): Promise<PGlite> {
  return PGlite.create(dataDir === undefined ? {} : { dataDir })
}
