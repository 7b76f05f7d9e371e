import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ERROR_CODES } from '../../src/errors.ts'
import { RULES } from '../../src/settings/rules.ts'
import { createStatements, grantJournalStatement, grantStatements } from '../../src/table/definition.ts'

/** The README says what the code does: its tables are held against it. */
const readme = readFileSync(join(import.meta.dirname, '../../../../README.md'), 'utf8')

test('every option is in the table of options, and nothing else is', () => {
  const table = readme.slice(readme.indexOf('| option |'), readme.indexOf('In a php.ini `refreshAfter`'))
  const named = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual(['db', ...Object.keys(RULES)].sort())
})

test('every code of an error is in the table of errors, with its meaning', () => {
  const table = readme.slice(readme.indexOf('| code |'))
  const rows = [...table.matchAll(/^\| `([A-Z_]+)` \| (.*) \|$/gm)].map(([, code, text]) => [code, text])
  expect(Object.fromEntries(rows)).toEqual(ERROR_CODES)
})

test('the table definition is the one that is created', () => {
  const sql = `${createStatements({ schema: 'public', table: 'php_session' }).join(';\n')};`
  expect(readme).toContain(sql)
})

test('what the database user needs is what is granted', () => {
  const name = { schema: 'public', table: 'php_session' }
  for (const sql of [...grantStatements(name, 'php_session'), grantJournalStatement(name, 'php_session')]) {
    expect(readme.replaceAll('"', '')).toContain(`${sql.replaceAll('"', '').replaceAll('public.', '')};`)
  }
})
