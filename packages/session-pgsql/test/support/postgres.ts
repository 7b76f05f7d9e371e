import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { appendFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { identity } from './cache.ts'
import { freePort, queryOnce } from './connect.ts'
import {
  installPostgres,
  makeDataDir,
  makeServerFolder,
  type PostgresVersion,
  plainEnvironment,
} from './postgres-files.ts'
import { childrenOf, isRunning, signal } from './process-tree.ts'
import { sleep, until } from './wait.ts'
import { startWatchdog, type Watchdog } from './watchdog.ts'

export interface PostgresOptions {
  version: PostgresVersion
  /** Settings of postgresql.conf. `{ fsync: "off" }` makes a server faster; its folder is in memory if there is room. */
  settings?: Record<string, string>
  /** Encoding of the databases; default UTF8. */
  encoding?: string
  /** Locale of the databases; default C. */
  locale?: string
  /** The server's time zone; default UTC. */
  timezone?: string
  /** Default: a free one. */
  port?: number
}

const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu']
  .map((folder) => join(folder, 'faketime/libfaketime.so.1'))
  .find((path) => existsSync(path))

/** Why no server's clock can be shifted on this machine; undefined if it can. */
export const faketimeMissing: string | undefined =
  FAKETIME === undefined
    ? 'no faketime on this machine: nothing was tried with clocks that differ'
    : undefined

export type StopMode = 'smart' | 'fast' | 'immediate'

const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** Makes and starts a PostgreSQL server of its own: trust authentication, user `postgres`, 127.0.0.1. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const folder = await makeServerFolder(options.version, options.settings?.fsync === 'off')
  const watchdog = startWatchdog(folder)
  const { encoding = 'UTF8', locale = 'C', timezone = 'UTC', settings = {} } = options
  try {
    await makeDataDir(options.version, join(folder, 'data'), { encoding, locale })
    const lines = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: folder,
      // In the data folder, so that a server killed with -9 and never started again leaves nothing behind.
      dynamic_shared_memory_type: 'mmap',
      lc_messages: 'C',
      timezone,
      ...settings,
    }
    await appendFile(
      join(folder, 'data/postgresql.conf'),
      Object.entries(lines)
        .map(([key, value]) => `${key} = '${value.replaceAll("'", "''")}'\n`)
        .join(''),
    )
  } catch (error) {
    watchdog.dismiss()
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  const bin = join(await installPostgres(options.version), 'bin')
  const server = new PostgresServer(options.version, folder, bin, watchdog)
  try {
    await server.start(options.port)
  } catch (error) {
    await server.remove()
    throw error
  }
  return server
}

/**
 * A running server. Whatever becomes of this process, the server is stopped and its folder removed: see
 * watchdog.ts. `remove()` does it at once, `keep()` spares the folder.
 */
export class PostgresServer {
  readonly host = '127.0.0.1'
  readonly version: PostgresVersion
  /** Holds the data folder, the log, and the socket. */
  readonly folder: string
  readonly dataDir: string
  readonly #bin: string
  readonly #watchdog: Watchdog
  #port: number | undefined
  #child: ChildProcess | undefined
  #paused: number[] = []
  #kept = false
  #clock: Record<string, string> = {}

  constructor(version: PostgresVersion, folder: string, bin: string, watchdog: Watchdog) {
    this.version = version
    this.folder = folder
    this.dataDir = join(folder, 'data')
    this.#bin = bin
    this.#watchdog = watchdog
  }

  /** The port stays the same as long as the server lives. */
  get port(): number {
    if (this.#port === undefined) throw new Error('The server was never started')
    return this.#port
  }

  /** The postmaster's process id. */
  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined || !this.running) throw new Error('The server is not running')
    return pid
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  conninfo(database = 'postgres'): string {
    return `host=${this.host} port=${this.port} dbname=${database} user=postgres`
  }

  url(database = 'postgres'): string {
    return `postgresql://postgres@${this.host}:${this.port}/${encodeURIComponent(database)}`
  }

  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : ''
  }

  get #logFile(): string {
    return join(this.folder, 'log')
  }

  /** Starts a server that is stopped or was killed, at the port that it had, and waits until it takes connections. */
  async start(wanted: number | undefined = this.#port): Promise<void> {
    if (this.running) throw new Error('The server is running already')
    for (let attempt = 1; ; attempt++) {
      const port = wanted ?? (await freePort())
      if (await this.#launch(port)) {
        this.#port = port
        return
      }
      // Somebody else may have taken the port, or connections of the last life may still hold it.
      const taken = this.log().split('starting PostgreSQL').at(-1)?.includes('could not bind')
      if (!taken || attempt === 10)
        throw new Error(`PostgreSQL ${this.version} does not start:\n${this.log()}`)
      await sleep(wanted === undefined ? 0 : 200)
    }
  }

  async #launch(port: number): Promise<boolean> {
    const log = openSync(this.#logFile, 'a')
    const child = spawn(join(this.#bin, 'postgres'), ['-D', this.dataDir, '-p', String(port)], {
      ...identity,
      cwd: this.folder,
      env: { ...plainEnvironment(), ...this.#clock },
      stdio: ['ignore', log, log],
      // A group of its own: Ctrl-C ends the tests first, and the tests end the server.
      detached: true,
    })
    closeSync(log)
    child.unref()
    this.#child = child
    await new Promise((resolve, reject) => {
      child.on('spawn', resolve)
      child.on('error', reject)
    })
    await until(() => !this.running || this.#isReady(), 'PostgreSQL to start', 60_000)
    return this.running
  }

  /** From the next start on the server's clock is so many seconds fast. Needs faketime; see `faketimeMissing`. */
  shiftClock(seconds: number): void {
    this.#clock = {
      LD_PRELOAD: FAKETIME as string,
      FAKETIME: `${seconds < 0 ? '' : '+'}${seconds}s`,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
  }

  /** The postmaster says so itself, in the last line of its pid file. */
  #isReady(): boolean {
    try {
      const lines = readFileSync(join(this.dataDir, 'postmaster.pid'), 'utf8').split('\n')
      return lines[0] === String(this.#child?.pid) && lines[7]?.trim() === 'ready'
    } catch {
      return false
    }
  }

  /** Stops the server and keeps its data. `smart` waits for its clients to leave, `immediate` is like a crash. */
  async stop(mode: StopMode = 'fast'): Promise<void> {
    if (!this.running) return
    this.resume()
    signal(this.pid, STOP_SIGNALS[mode])
    await until(() => !this.running, `PostgreSQL to stop (${mode})`, 30_000)
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** kill -9 to the postmaster and all its children, as when the power fails. Its data stays; `start()` recovers. */
  async kill9(): Promise<void> {
    const postmaster = this.pid
    // Stopped first: a postmaster that runs would answer the death of a child by starting others.
    signal(postmaster, 'SIGSTOP')
    const family = [...childrenOf(postmaster), postmaster]
    for (const pid of family) signal(pid, 'SIGKILL')
    this.#paused = []
    await until(() => !this.running && !family.some(isRunning), 'PostgreSQL to die', 10_000)
  }

  /** Makes the server hang: SIGSTOP to the postmaster and all its children. Connections stay open. */
  pause(): void {
    const postmaster = this.pid
    signal(postmaster, 'SIGSTOP')
    this.#paused = [postmaster, ...childrenOf(postmaster)]
    for (const pid of this.#paused) signal(pid, 'SIGSTOP')
  }

  resume(): void {
    for (const pid of this.#paused) signal(pid, 'SIGCONT')
    this.#paused = []
  }

  /** Runs one statement on a connection of its own. */
  async query<R extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    parameters: unknown[] = [],
    database = 'postgres',
  ): Promise<R[]> {
    return queryOnce<R>(this.conninfo(database), sql, parameters)
  }

  /**
   * Runs ALTER SYSTEM with each of these, such as `SET ssl = on` or `RESET ssl`, and waits until the settings are in force:
   * new connections have them, others have been told, and commits wait for a synchronous standby.
   */
  async configure(...changes: string[]): Promise<void> {
    for (const change of changes) await this.query(`ALTER SYSTEM ${change}`)
    // The postmaster reads the file some time after pg_reload_conf() returns.
    const loadedAt = async () =>
      (await this.query<{ at: string }>('SELECT pg_conf_load_time()::text AS at'))[0]?.at
    const before = await loadedAt()
    await this.query('SELECT pg_reload_conf()')
    await until(async () => (await loadedAt()) !== before, 'the settings to be in force')
    // Commits depend on the checkpointer, which reads the settings before the next checkpoint.
    await this.query('CHECKPOINT')
  }

  /** Creates a database and returns its conninfo. */
  async createDatabase(
    name = `test_${randomBytes(5).toString('hex')}`,
    options: { encoding?: string; locale?: string } = {},
  ): Promise<string> {
    const { encoding, locale } = options
    const quoted = `"${name.replaceAll('"', '""')}"`
    await this.query(
      `CREATE DATABASE ${quoted} TEMPLATE template0${encoding ? ` ENCODING '${encoding}'` : ''}${locale ? ` LOCALE '${locale}'` : ''}`,
    )
    return this.conninfo(name)
  }

  /** Keeps the folder for a post-mortem; the server is stopped all the same. */
  keep(): void {
    this.#kept = true
    this.#watchdog.keep()
    console.error(`PostgreSQL ${this.version}: data and log are kept in ${this.folder}`)
  }

  /** Stops the server for good and removes its folder. */
  async remove(): Promise<void> {
    try {
      await this.stop('immediate')
    } catch {
      await this.kill9()
    }
    if (!this.#kept) await rm(this.folder, { recursive: true, force: true })
    this.#watchdog.dismiss()
  }
}
