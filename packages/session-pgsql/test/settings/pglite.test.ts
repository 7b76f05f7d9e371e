import { inspect } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parsePhpIni } from '../../src/php-ini.ts'
import { describeSettings, resolveSettings, type SaveHandlerOptions } from '../../src/settings/settings.ts'

/** What settings.unit.test.ts says of the other forms of `db`. Apart, because it starts a database. */

let instance: PGlite
// Starting takes seconds on a busy machine.
beforeAll(async () => {
  instance = await PGlite.create()
}, 60_000)
afterAll(() => instance.close())

/** Resolves without the environment of the process. */
const resolve = (options: SaveHandlerOptions) =>
  resolveSettings(options, { environment: {}, ini: parsePhpIni('', { environment: {} }) })

test('accepts a PGlite instance, and names others in memory apart from it', () => {
  const { db } = resolve({ db: [instance, 'pglite:', 'pglite:./sessions'] })
  expect(db.map(({ kind, name }) => [kind, name])).toEqual([
    ['pglite', 'pglite:'],
    ['pgliteFolder', 'pglite:#2'],
    ['pgliteFolder', 'pglite:./sessions'],
  ])
  expect(db[0]).toHaveProperty('instance', instance)
})

test('prints settings with an instance without what is in it', () => {
  expect(inspect(instance, { depth: null })).toContain('serializers')
  const settings = resolve({ db: instance })
  const printed = [
    inspect(settings, { depth: null }),
    JSON.stringify(settings),
    inspect({ ...settings, db: settings.db.map((entry) => ({ ...entry })) }, { depth: null }),
    JSON.stringify(describeSettings(settings)),
    inspect(describeSettings(settings), { depth: null, showHidden: true }),
  ]
  for (const text of printed) expect(text).not.toContain('serializers')
})
