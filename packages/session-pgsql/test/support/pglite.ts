import { existsSync, openAsBlob } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { cached } from './cache.ts'

/**
 * A PGlite instance in memory, or in a folder. It starts from a dump of a fresh one, made once: PGlite's own first
 * start takes seconds, loading the dump a fraction of one. A folder that holds
 * a database already is opened as it is.
 */
export async function startPglite(dataDir?: string): Promise<PGlite> {
  if (dataDir !== undefined && existsSync(join(dataDir, 'PG_VERSION'))) return PGlite.create({ dataDir })
  const loadDataDir = await openAsBlob(await pgliteTemplate())
  return PGlite.create(dataDir === undefined ? { loadDataDir } : { dataDir, loadDataDir })
}

/** The file with the dump. Called before the tests, it takes the time of making it out of theirs. */
export async function pgliteTemplate(): Promise<string> {
  const main = createRequire(import.meta.url).resolve('@electric-sql/pglite')
  const { version } = JSON.parse(await readFile(join(dirname(dirname(main)), 'package.json'), 'utf8'))
  const folder = await cached(`pglite-${version}`, async (target) => {
    const fresh = await PGlite.create()
    const dump = await fresh.dumpDataDir('none')
    await fresh.close()
    await writeFile(join(target, 'data.tar'), Buffer.from(await dump.arrayBuffer()))
  })
  return join(folder, 'data.tar')
}
