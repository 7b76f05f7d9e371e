import { readPhpIni } from '../php-ini.ts'
import { SaveHandler } from '../save-handler.ts'
import { Server } from '../servers/server.ts'
import {
  type Logger,
  resolveSettings,
  type SaveHandlerOptions,
  type Settings,
  type SettingsSources,
} from '../settings/settings.ts'
import type { Context } from './command.ts'
import type { Arguments } from './flags.ts'
import type { Output } from './output.ts'

/** Seconds: an operator's lists and counts go through whole tables, so they may take longer than a request. */
const PATIENCE = '30'

/** One run of a command: its settings, and what it has opened. */
export class Session implements Context {
  readonly arguments: Arguments
  readonly output: Output
  readonly signal: AbortSignal
  readonly environment: Record<string, string | undefined>
  readonly #createTable: boolean
  #sources: SettingsSources | undefined
  #settings: Settings | undefined
  #servers: Server[] | undefined
  #handler: SaveHandler | undefined

  /** @param createTable whether a missing table is made: a look must not make one */
  constructor(
    given: Arguments,
    output: Output,
    signal: AbortSignal,
    environment: Record<string, string | undefined>,
    createTable: boolean,
  ) {
    this.arguments = given
    this.output = output
    this.signal = signal
    this.environment = environment
    this.#createTable = createTable
  }

  get configured(): Settings {
    return resolveSettings(this.#given(), { ...this.#from(), environment: this.environment })
  }

  get settings(): Settings {
    this.#settings ??= resolveSettings(this.#options(), this.#from())
    return this.#settings
  }

  get servers(): readonly Server[] {
    this.#servers ??= this.settings.db.map((entry) => new Server(entry, this.settings, this))
    return this.#servers
  }

  get handler(): SaveHandler {
    this.#handler ??= new SaveHandler(this.#options(), this.#from())
    return this.#handler
  }

  deadline(): number {
    return performance.now() + this.settings.operationTimeout * 1000
  }

  async close(): Promise<void> {
    await Promise.all([this.#handler?.close(), ...(this.#servers ?? []).map((server) => server.close())])
  }

  #from(): SettingsSources {
    const ini = this.arguments.text('ini')
    this.#sources ??= {
      ini: ini === undefined ? undefined : readPhpIni(ini),
      environment: { SESSION_PGSQL_OPERATION_TIMEOUT: PATIENCE, ...this.environment },
    }
    return this.#sources
  }

  #options(): SaveHandlerOptions {
    return {
      ...this.#given(),
      createTable: this.#createTable,
      // An operator's look must not start to sweep.
      gcInterval: 0,
      logger: this.#logger(),
    }
  }

  /** What the flags say. */
  #given(): SaveHandlerOptions {
    const given = this.arguments
    const db = given.all('db')
    return {
      db: db.length > 1 ? db : db[0],
      table: given.text('table'),
      operationTimeout: given.number('timeout'),
      keepExpired: given.has('keep-expired') || given.has('keep-expired-for') ? true : undefined,
      keepExpiredFor: given.number('keep-expired-for'),
    }
  }

  #logger(): Logger {
    const say = (message: string, error?: unknown): void =>
      this.output.error(error instanceof Error ? `${message}: ${error.message}` : message)
    return { debug() {}, info() {}, warn: say, error: say }
  }
}
