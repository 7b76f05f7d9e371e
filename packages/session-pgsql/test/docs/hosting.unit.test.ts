import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { databaseEntries } from '../../src/settings/database-entries.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/hosting.md'), 'utf8')

/** The lines of the code blocks that are connection strings. */
const strings = [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
  .flatMap(([, language, block = '']) => (language === '' ? block.trim().split('\n') : []))
  .map((line) => [line])

test('docs/hosting.md has connection strings', () => {
  expect(strings.length).toBeGreaterThan(12)
})

test.each(strings)('accepts %s of docs/hosting.md', (text) => {
  const [entry, ...others] = databaseEntries('option db', text, {})
  expect([entry?.kind, others]).toEqual(['conninfo', []])
  expect(entry).toHaveProperty('conninfo.password', 'password')
})
