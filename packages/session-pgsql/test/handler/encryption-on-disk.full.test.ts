import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const MARKER = 'known-secret-data'

let server: PostgresServer
beforeAll(async () => {
  // The log has every statement with all its parameters, also those of errors.
  const settings = {
    log_statement: 'all',
    log_parameter_max_length: '-1',
    log_parameter_max_length_on_error: '-1',
    log_min_duration_statement: '0',
  }
  server = await startPostgres({ version: '18', settings })
})
afterAll(() => server.remove())

/** Returns the files of the server, its log included, that contain a text. */
function filesWith(text: string): string[] {
  const files = readdirSync(server.folder, { recursive: true, withFileTypes: true })
  return files
    .filter((file) => file.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((path) => readFileSync(path).includes(text))
}

/** Sends every kind of statement that writes data or an error message. */
async function use(options: SaveHandlerOptions): Promise<void> {
  const open = () => new SaveHandler({ db: server.conninfo(), gcInterval: 0, ...options })
  const [one, two] = [open(), open()]
  try {
    const errors = { errors: 1, message: `${MARKER} message` }
    const { session } = await one.write('a', { secret: MARKER, n: 1 }, { base: null, errors })
    await one.write('a', { secret: MARKER, n: 2 }, { base: session })
    expect((await two.write('a', { secret: MARKER, n: 1, m: 1 }, { base: session, errors })).outcome).toBe(
      'merged',
    )
    await one.write('b', { secret: MARKER })
    await one.write('b', { secret: MARKER, again: true })
    await Promise.all(
      Array.from({ length: 10 }, () =>
        two.update('b', (data) => {
          data.n = (data.n ?? 0) as number
        }),
      ),
    )
    await one.touch('b', { errors })
    await one.addError('b', 'error', MARKER)
    await one.list({ text: true })
    await one.destroy('b')
  } finally {
    await Promise.all([one.close(), two.close()])
  }
}

test('neither the data directory nor the log of PostgreSQL contains session data', async () => {
  await use({ encryption: { keys: [{ id: 'one', key: randomBytes(32) }] } })
  await server.stop('fast')
  expect(filesWith('e1.one.').length).toBeGreaterThan(2)
  expect(filesWith(MARKER)).toEqual([])

  // The search would find it.
  await server.start()
  await server.query('DROP TABLE php_session')
  await use({})
  await server.stop('fast')
  expect(filesWith(MARKER).length).toBeGreaterThan(2)
})
