import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectNamedTests } from './named-tests.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/security.md'), 'utf8')

test('each statement about an attacker names tests that exist', () => {
  const rows = [...page.matchAll(/^\| (.+) \| (.+) \|$/gm)].filter(([, , tests]) => tests !== 'test')
  expect(rows.length).toBeGreaterThan(30)
  for (const [, statement, tests = ''] of rows) {
    const { count, others } = expectNamedTests(tests)
    expect([statement, count > 0, others]).toEqual([statement, true, []])
  }
})

test('says of each party what it can and cannot do', () => {
  const parties = page.split(/^## /m).slice(1)
  expect(parties.map((party) => party.split('\n', 1)[0])).toEqual([
    'The application',
    'The database role',
    'A client of the gateway',
    'An operator',
    'A reader',
    'A local user',
    'The network',
  ])
  for (const party of parties) expect(party).toMatch(/\*\*can\*\*[\s\S]*\| (It|They) cannot \| test \|/)
})
