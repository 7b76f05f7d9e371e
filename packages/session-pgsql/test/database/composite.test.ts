import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { fieldsOf } from '../../src/table/composite.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'

describeOnEveryServer('A row as PostgreSQL prints it whole', (server) => {
  let database: FreshDatabase
  beforeAll(async () => {
    database = await server.freshDatabase()
  })

  test('is taken apart into what it was made of', async () => {
    const awkward = [
      '',
      ' ',
      '"',
      '""',
      '\\',
      '\\\\',
      ',',
      '(',
      ')',
      '(,"\\")',
      '\n',
      'NULL',
      '{}',
      '\u00a0',
      '😀',
      null,
    ]
    const field = fc.oneof(
      fc.constantFrom(...awkward),
      fc.string({ unit: fc.constantFrom('"', '\\', ',', ' ', '(', ')', 'a', '\t', 'é') }),
      fc.stringMatching(/^[A-Za-z0-9,.:-]{1,40}$/),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(field, { minLength: 2, maxLength: 6 }), { minLength: 1 }),
        async (rows) => {
          const columns = rows.map((fields, row) => {
            const values = fields.map((_, at) => `($1::jsonb->${row}->>${at})::text`).join(', ')
            return `ROW(${values})::text AS r${row}`
          })
          const [printed] = await database.query(`SELECT ${columns.join(', ')}`, [JSON.stringify(rows)])
          expect(rows.map((_, row) => fieldsOf(printed?.[`r${row}`] as string))).toEqual(rows)
        },
      ),
      { numRuns: 100 },
    )
  })
})
