import { expect } from 'vitest'
import { SaveHandler, type WriteOptions } from '../../src/index.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { type Circumstances, type Ran, runHere } from './command-line.ts'

/** A fresh database, and the command on it. */
export interface Place {
  readonly database: FreshDatabase
  /** As a URL, for `--db`. */
  readonly db: string
  /** Runs a command line in this process, with `--db` put in. */
  run(argv: readonly string[], circumstances?: Circumstances): Promise<Ran>
  write(
    id: string,
    data: Record<string, unknown>,
    options?: WriteOptions<Record<string, unknown>>,
  ): Promise<void>
}

/** @param options `table: false`: without the session table */
type MakePlace = (options?: { table?: boolean }) => Promise<Place>

/**
 * Runs the suite on every server that the command can name by a text. A PGlite of this process is none: on a
 * PGlite folder the command is tried in process.test.ts.
 */
export function describeWithCommand(name: string, suite: (place: MakePlace) => void): void {
  describeOnEveryServer(
    name,
    (server) =>
      suite(async ({ table = true } = {}) => {
        const database = await server.freshDatabase()
        const db = database.db as string
        const run: Place['run'] = ([command = '', ...argv], circumstances) =>
          runHere([command, '--db', db, ...argv], circumstances)
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

// biome-ignore lint/suspicious/noExplicitAny: what the tests are about
export function json({ stdout }: Ran): any {
  return JSON.parse(stdout)
}
