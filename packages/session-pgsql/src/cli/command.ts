import type { SaveHandler } from '../save-handler.ts'
import type { Server } from '../servers/server.ts'
import type { Settings } from '../settings/settings.ts'
import type { Arguments, OptionSpecs } from './arguments.ts'
import type { Output } from './output.ts'

export interface Command {
  readonly name: string
  /** The arguments after the name, for `--help`: `ID [--data]`. */
  readonly usage: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Description, examples and JSON output for `--help`, in lines of at most 80 columns. */
  readonly details: string
  /** The command's own options; every command also takes `GENERAL_OPTIONS`. */
  readonly options: OptionSpecs
  /** Minimum and maximum number of positional arguments. */
  readonly positionals: readonly [number, number]
  /** Milliseconds that the command may use after SIGINT or SIGTERM to finish its current batch. Default: 0. */
  readonly gracePeriod?: number
  /** Whether the command creates a missing session table. Default: false. */
  readonly createsTable?: boolean
  /** Runs the command. @returns the exit code, 0 or 1 */
  run(context: Context): Promise<number>
}

/** What a command works with: its arguments, its settings, and the servers. */
export interface Context {
  readonly arguments: Arguments
  readonly output: Output
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The command's settings: no automatic GC, no table creation unless `createsTable`, a longer time limit. */
  readonly settings: Settings
  /** The settings of an application that has the same options, php.ini and environment. */
  readonly configured: Settings
  /** Every server of `db`. A server connects at its first use. The caller of the command closes them. */
  readonly servers: readonly Server[]
  /** A save handler with `settings`, created at its first use. */
  readonly handler: SaveHandler
  /** Asks the user at the terminal, and returns true if the user confirms. undefined: there is no terminal. */
  readonly confirm: ((question: string) => Promise<boolean>) | undefined
  /** Returns the deadline of a statement that starts now, in milliseconds of `performance.now()`. */
  deadline(): number
}
