import { execFileSync } from 'node:child_process'
import { appendFile, cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { identity } from './cache.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'

/**
 * A streaming standby of a server: a copy of its data folder, taken while it is stopped for a moment.
 * `promote` makes it a primary; the old one is not told.
 */
export async function startStandby(primary: PostgresServer): Promise<PostgresServer> {
  const standby = await startPostgres({ version: primary.version })
  await standby.stop()
  await primary.stop()
  await copyData(primary, standby)
  await primary.start()
  await standby.start()
  return standby
}

export async function promote(standby: PostgresServer): Promise<void> {
  await standby.query('SELECT pg_promote(true)')
}

async function copyData(from: PostgresServer, to: PostgresServer): Promise<void> {
  await rm(to.dataDir, { recursive: true, force: true })
  await cp(from.dataDir, to.dataDir, { recursive: true, preserveTimestamps: true })
  await writeFile(join(to.dataDir, 'standby.signal'), '')
  await appendFile(
    join(to.dataDir, 'postgresql.conf'),
    `unix_socket_directories = '${to.folder}'\nprimary_conninfo = '${from.conninfo()}'\n`,
  )
  if (identity !== undefined) execFileSync('chown', ['-R', `${identity.uid}:${identity.gid}`, to.dataDir])
  execFileSync('chmod', ['700', to.dataDir])
}
