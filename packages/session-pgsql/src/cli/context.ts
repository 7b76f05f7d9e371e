import { readFileSync } from 'node:fs'
import { readPhpIni } from '../php-ini.ts'
import { SaveHandler } from '../save-handler.ts'
import { Server } from '../servers/server.ts'
import type { ColumnDefinitions } from '../session/columns.ts'
import { columnsText } from '../settings/columns.ts'
import {
  type Logger,
  resolveSettings,
  type SaveHandlerOptions,
  type Settings,
  type SettingsSources,
} from '../settings/settings.ts'
import { type Arguments, UsageError } from './arguments.ts'
import type { Context } from './command.ts'
import type { Output } from './output.ts'

/** Seconds: lists and counts may read whole tables, which takes longer than a request may. */
const OPERATION_TIMEOUT = '30'

/** The context of one run of a command. Closes what it has opened. */
export class CommandContext implements Context {
  readonly arguments: Arguments
  readonly output: Output
  readonly signal: AbortSignal
  readonly environment: Record<string, string | undefined>
  readonly confirm: ((question: string) => Promise<boolean>) | undefined
  readonly #createTable: boolean
  #sources: SettingsSources | undefined
  #settings: Settings | undefined
  #servers: Server[] | undefined
  #handler: SaveHandler | undefined

  /** @param createTable whether a missing table is created; commands that only read must not create one */
  constructor(
    args: Arguments,
    output: Output,
    signal: AbortSignal,
    environment: Record<string, string | undefined>,
    createTable: boolean,
    confirm: ((question: string) => Promise<boolean>) | undefined,
  ) {
    this.confirm = confirm
    this.arguments = args
    this.output = output
    this.signal = signal
    this.environment = environment
    this.#createTable = createTable
  }

  get configured(): Settings {
    return resolveSettings(this.#argumentOptions(), {
      ...this.#settingsSources(),
      environment: this.environment,
    })
  }

  get settings(): Settings {
    this.#settings ??= resolveSettings(this.#handlerOptions(), this.#settingsSources())
    return this.#settings
  }

  get servers(): readonly Server[] {
    this.#servers ??= this.settings.db.map((entry) => new Server(entry, this.settings, this))
    return this.#servers
  }

  get handler(): SaveHandler {
    this.#handler ??= new SaveHandler(this.#handlerOptions(), this.#settingsSources())
    return this.#handler
  }

  deadline(): number {
    return performance.now() + this.settings.operationTimeout * 1000
  }

  async close(): Promise<void> {
    await Promise.all([this.#handler?.close(), ...(this.#servers ?? []).map((server) => server.close())])
  }

  #settingsSources(): SettingsSources {
    const ini = this.arguments.text('ini')
    this.#sources ??= {
      ini: ini === undefined ? undefined : readPhpIni(ini),
      environment: { SESSION_PGSQL_OPERATION_TIMEOUT: OPERATION_TIMEOUT, ...this.environment },
    }
    return this.#sources
  }

  #handlerOptions(): SaveHandlerOptions {
    return {
      ...this.#argumentOptions(),
      createTable: this.#createTable,
      // A command that lists sessions must not start garbage collection.
      gcInterval: 0,
      // Processes that listen must learn of what an operator ends. Without any, it costs little.
      announce: true,
      logger: this.#logger(),
    }
  }

  /** The save handler's options that are set on the command line. */
  #argumentOptions(): SaveHandlerOptions {
    const args = this.arguments
    const db = args.all('db')
    const columns = args.text('columns')
    return {
      db: db.length > 1 ? db : db[0],
      table: args.text('table'),
      encryption: encryptionOf(args.text('encryption-keys')),
      ids: args.text('ids') as SaveHandlerOptions['ids'],
      columns: columns === undefined ? undefined : (columnsText(columns) as ColumnDefinitions),
      operationTimeout: args.number('timeout'),
      keepExpired: args.has('keep-expired') || args.has('keep-expired-for') ? true : undefined,
      keepExpiredFor: args.number('keep-expired-for'),
    }
  }

  #logger(): Logger {
    const print = (message: string, error?: unknown): void =>
      this.output.error(error instanceof Error ? `${message}: ${error.message}` : message)
    return { debug() {}, info() {}, warn: print, error: print }
  }
}

/** @param file with the keys; undefined: those in the environment, if there are any */
function encryptionOf(file: string | undefined): SaveHandlerOptions['encryption'] {
  if (file === undefined) return undefined
  try {
    return { keys: readFileSync(file, 'utf8') }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(`--encryption-keys: the file cannot be read (${code})`)
  }
}
