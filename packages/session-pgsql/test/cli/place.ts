import { expect } from 'vitest'
import { SaveHandler, type WriteOptions } from '../../src/index.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { type RunOptions, type RunResult, runHere } from './command-line.ts'

/** A new database, and the command run on it. */
export interface CommandFixture {
  readonly database: FreshDatabase
  /** The database as a URL, for `--db`. */
  readonly db: string
  /** Runs a command line in this process, with `--db` added. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>
  /** Writes a session with a save handler. */
  write(
    id: string,
    data: Record<string, unknown>,
    options?: WriteOptions<Record<string, unknown>>,
  ): Promise<void>
}

/** Creates a fixture. @param options `table: false`: without the session table */
type Setup = (options?: { table?: boolean }) => Promise<CommandFixture>

/**
 * Runs the suite on every server that `--db` can name, which a PGlite instance in this process is not. The tests of
 * the program run the command on a PGlite directory.
 */
export function describeWithCommand(name: string, suite: (setup: Setup) => void): void {
  describeOnEveryServer(
    name,
    (server) =>
      suite(async ({ table = true } = {}) => {
        const database = await server.freshDatabase()
        const db = database.db as string
        const run: CommandFixture['run'] = ([command = '', ...argv], options) =>
          runHere([command, '--db', db, ...argv], options)
        if (table) expect((await run(['init'])).code).toBe(0)
        return {
          database,
          db,
          run,
          async write(id, data, options) {
            const handler = new SaveHandler({ db, gcInterval: 0 })
            try {
              await handler.write(id, data, options)
            } finally {
              await handler.close()
            }
          },
        }
      }),
    ['postgres'],
  )
}

// biome-ignore lint/suspicious/noExplicitAny: the tests check its shape
export function json({ stdout }: RunResult): any {
  return JSON.parse(stdout)
}
