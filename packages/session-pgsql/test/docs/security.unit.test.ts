import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../../../..')
const page = readFileSync(join(root, 'docs/security.md'), 'utf8')

/** Returns the path of a test file that the page names. */
function pathOf(file: string): string {
  const library = 'session-pgsql/'
  return file.startsWith(library)
    ? join(root, 'packages/session-pgsql/test', file.slice(library.length))
    : join(root, 'packages/session-pgsql-server/test', file)
}

test('each statement about an attacker names tests that exist', () => {
  const rows = [...page.matchAll(/^\| (.+) \| (.+) \|$/gm)].filter(([, , tests]) => tests !== 'test')
  expect(rows.length).toBeGreaterThan(30)
  for (const [, statement, tests = ''] of rows) {
    const named = [...tests.matchAll(/`([^`]+\.ts)` “([^”]+)”/g)]
    expect([statement, named.length > 0]).toEqual([statement, true])
    for (const [, file = '', title = ''] of named) {
      const path = pathOf(file)
      expect([file, existsSync(path)]).toEqual([file, true])
      expect([file, title, readFileSync(path, 'utf8').includes(`'${title}'`)]).toEqual([file, title, true])
    }
    // Nothing else is in the column.
    expect(tests.replaceAll(/`[^`]+\.ts` “[^”]+”/g, '').replaceAll(', ', '')).toBe('')
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
