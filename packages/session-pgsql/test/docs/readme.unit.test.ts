import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ERROR_CODES } from '../../src/errors.ts'
import { RULES } from '../../src/settings/rules.ts'
import {
  createStatements,
  grantJournalStatement,
  grantStatements,
  readable,
} from '../../src/table/definition.ts'

/** Compares the README's tables with the code. */
const readme = readFileSync(join(import.meta.dirname, '../../../../README.md'), 'utf8')

test('the table of options lists exactly the options', () => {
  const table = readme.slice(readme.indexOf('| option |'), readme.indexOf('In a php.ini `refreshAfter`'))
  const named = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual(['db', 'encryption', ...Object.keys(RULES)].sort())
})

test('the table of errors lists exactly the error codes, with their meanings', () => {
  const table = readme.slice(readme.indexOf('| code |'))
  const rows = [...table.matchAll(/^\| `([A-Z_]+)` \| (.*) \|$/gm)].map(([, code, text]) => [code, text])
  expect(Object.fromEntries(rows)).toEqual(ERROR_CODES)
})

test('shows the table definition as it is created', () => {
  const sql = `${createStatements({ schema: 'public', table: 'php_session' }).map(readable).join(';\n')};`
  expect(readme).toContain(sql)
})

test('shows the privileges that are granted to the database user', () => {
  const name = { schema: 'public', table: 'php_session' }
  for (const sql of [...grantStatements(name, 'php_session'), grantJournalStatement(name, 'php_session')]) {
    expect(readme.replaceAll('"', '')).toContain(`${sql.replaceAll('"', '').replaceAll('public.', '')};`)
  }
})
