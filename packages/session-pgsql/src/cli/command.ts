import type { SaveHandler } from '../save-handler.ts'
import type { Server } from '../servers/server.ts'
import type { Settings } from '../settings/settings.ts'
import type { Arguments, Flags } from './flags.ts'
import type { Output } from './output.ts'

export interface Command {
  readonly name: string
  /** What follows the name: `ID [--data]`. */
  readonly usage: string
  /** One line for the list of commands. */
  readonly summary: string
  /** What there is to know, then examples. IdQueues of at most 80 columns. */
  readonly details: string
  /** Beyond those of every command. */
  readonly flags: Flags
  /** Fewest and most arguments that are not flags. */
  readonly positionals: readonly [number, number]
  /** Milliseconds after SIGINT or SIGTERM in which it may bring to an end what it has begun. */
  readonly patience?: number
  /** Whether it makes a table that is missing. */
  readonly createsTable?: boolean
  /** @returns the exit code: 0 or 1 */
  run(context: Context): Promise<number>
}

/** What a command is given. */
export interface Context {
  readonly arguments: Arguments
  readonly output: Output
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal
  readonly environment: Readonly<Record<string, string | undefined>>
  /** In force here: the table is not created, GC has no interval, statements may take longer. */
  readonly settings: Settings
  /** As an application would have them with the same php.ini and environment. */
  readonly configured: Settings
  /** Every server of `db`. They connect when they are first used; closed by the caller. */
  readonly servers: readonly Server[]
  /** A save handler with the same settings; made when first asked for. */
  readonly handler: SaveHandler
  /** When a statement that begins now shall have ended, in milliseconds of `performance.now()`. */
  deadline(): number
}
