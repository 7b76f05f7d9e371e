import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { identity, temporaryDirectory } from './cache.ts'
import { freePort, queryOnce } from './connect.ts'
import { until } from './wait.ts'

/** PgBouncer in front of a server: transaction mode, so that each transaction gets whichever connection is free. */
export interface Pgbouncer {
  readonly host: string
  readonly port: number
  url(database: string): string
  /** Leads to another server from now on; its clients do not notice. */
  lead(server: { host: string; port: number | string }): Promise<void>
  stop(): Promise<void>
}

const PROGRAM = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  .map((folder) => join(folder, 'pgbouncer'))
  .find((path) => existsSync(path))

/** Why there is none on this machine; undefined if there is. */
export const pgbouncerMissing: string | undefined =
  PROGRAM === undefined ? 'no pgbouncer on this machine: nothing was tried through it' : undefined

/** Such as `PgBouncer 1.18.0`. */
export function pgbouncerVersion(): string {
  return spawnSync(PROGRAM as string, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0] as string
}

/** It ends when its input does: so it does not outlive this process, however that ends. */
const SCRIPT = `
exec 3<&0
"$1" -q "$2/ini" &
pid=$!
(read -r _; kill "$pid") <&3 &
wait "$pid"
rm -rf "$2"
`

/** @param poolSize connections to the server, for each database and user */
export async function startPgbouncer(
  server: { host: string; port: number | string },
  poolSize = 2,
): Promise<Pgbouncer> {
  const folder = await mkdtemp(join(temporaryDirectory(), 'session-pgsql-pgbouncer-'))
  const port = await freePort()
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    pool_mode: 'transaction',
    default_pool_size: poolSize,
    max_client_conn: 500,
    // Whoever the server knows may come in, as by the server's own `trust`.
    auth_type: 'trust',
    auth_file: join(folder, 'users'),
    auth_user: 'postgres',
    admin_users: 'postgres',
    ignore_startup_parameters: 'extra_float_digits',
    // A database can be dropped only when nobody is connected to it.
    server_idle_timeout: 1,
    logfile: join(folder, 'log'),
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${value}\n`)
  await writeFile(join(folder, 'users'), '"postgres" ""\n')
  const point = ({ host: to, port: at }: { host: string; port: number | string }): Promise<void> =>
    writeFile(join(folder, 'ini'), `[databases]\n* = host=${to} port=${at}\n[pgbouncer]\n${lines.join('')}`)
  await point(server)
  await chmod(folder, 0o755)
  if (identity !== undefined) await chown(folder, identity.uid, identity.gid)
  const child = spawn('sh', ['-c', SCRIPT, 'pgbouncer', PROGRAM as string, folder], {
    ...identity,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  const stop = async (): Promise<void> => {
    child.stdin.end()
    await until(() => hasEnded(child), 'pgbouncer to end')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until(() => hasEnded(child) || answers(port), 'pgbouncer to listen')
    if (hasEnded(child)) throw new Error(`pgbouncer has ended with ${child.exitCode}`)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    host: '127.0.0.1',
    port,
    url: (database) => `postgresql://postgres@127.0.0.1:${port}/${encodeURIComponent(database)}`,
    async lead(to) {
      await point(to)
      await queryOnce(`host=127.0.0.1 port=${port} dbname=pgbouncer user=postgres`, 'RELOAD')
    },
    stop,
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy().destroyed))
    socket.on('error', () => resolve(false))
  })
}
