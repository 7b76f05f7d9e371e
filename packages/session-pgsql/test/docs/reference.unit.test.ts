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

/** Compares the reference pages with the code. */
const pageOf = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../../../docs', name), 'utf8')
const [options, errors, table] = ['options.md', 'errors.md', 'table.md'].map(pageOf) as [
  string,
  string,
  string,
]

test('the table of options lists exactly the options', () => {
  const named = [...options.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual(['db', 'encryption', ...Object.keys(RULES)].sort())
})

test('the table of errors lists exactly the error codes, with their meanings', () => {
  const rows = [...errors.matchAll(/^\| `([A-Z_]+)` \| (.*) \|$/gm)].map(([, code, text]) => [code, text])
  expect(Object.fromEntries(rows)).toEqual(ERROR_CODES)
})

test('shows the table definition as it is created', () => {
  const sql = `${createStatements({ schema: 'public', table: 'php_session' }).map(readable).join(';\n')};`
  expect(table).toContain(sql)
})

test('shows the privileges that are granted to the database user', () => {
  const name = { schema: 'public', table: 'php_session' }
  for (const sql of [...grantStatements(name, 'php_session'), grantJournalStatement(name, 'php_session')]) {
    expect(table.replaceAll('"', '')).toContain(`${sql.replaceAll('"', '').replaceAll('public.', '')};`)
  }
})
