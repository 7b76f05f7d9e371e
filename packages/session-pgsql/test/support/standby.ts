import { execFile, execFileSync } from 'node:child_process'
import { appendFile, cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { identity } from './cache.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'
import { until } from './wait.ts'

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

/**
 * A server that was a primary, as a standby of another one: with a copy of that one's data, taken while it runs.
 * `old` must be stopped.
 */
export async function rejoin(old: PostgresServer, primary: PostgresServer): Promise<void> {
  const client = new pg.Client(primary.url())
  await client.connect()
  try {
    await client.query("SELECT pg_backup_start('rejoin', true)")
    await rm(old.dataDir, { recursive: true, force: true })
    try {
      // It takes seconds on a busy machine, and there is traffic in this process.
      await promisify(execFile)('cp', ['-a', primary.dataDir, old.dataDir])
    } catch {
      // Files that vanish meanwhile: the log that is replayed knows of them.
    }
    const { rows } = await client.query('SELECT labelfile FROM pg_backup_stop(true)')
    for (const file of ['postmaster.pid', 'postmaster.opts', 'standby.signal']) {
      await rm(join(old.dataDir, file), { force: true })
    }
    await writeFile(join(old.dataDir, 'backup_label'), rows[0].labelfile)
  } finally {
    await client.end()
  }
  await follow(old, primary)
  await old.start()
}

export async function promote(standby: PostgresServer): Promise<void> {
  await standby.query('SELECT pg_promote(true)')
}

/** From now on a commit waits for the standby; resolves when there is one. */
export async function synchronous(primary: PostgresServer): Promise<void> {
  await primary.configure("SET synchronous_standby_names = '*'")
  await until(
    async () =>
      (await primary.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")).length === 1,
    'a synchronous standby',
  )
}

async function copyData(from: PostgresServer, to: PostgresServer): Promise<void> {
  await rm(to.dataDir, { recursive: true, force: true })
  await cp(from.dataDir, to.dataDir, { recursive: true, preserveTimestamps: true })
  await follow(to, from)
}

async function follow(to: PostgresServer, from: PostgresServer): Promise<void> {
  await writeFile(join(to.dataDir, 'standby.signal'), '')
  await appendFile(
    join(to.dataDir, 'postgresql.conf'),
    // Tried again more often than every 5 s: until it is back, a synchronous primary commits nothing.
    `unix_socket_directories = '${to.folder}'\nwal_retrieve_retry_interval = '200ms'\nprimary_conninfo = '${from.conninfo()}'\n`,
  )
  if (identity !== undefined) execFileSync('chown', ['-R', `${identity.uid}:${identity.gid}`, to.dataDir])
  execFileSync('chmod', ['700', to.dataDir])
}
