import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../../../..')
const page = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')

test('each guarantee names tests that exist', () => {
  const rows = [...page.matchAll(/^\| (?!promise|---)(.+) \| (.+) \|$/gm)]
  expect(rows.length).toBeGreaterThan(20)
  for (const [, promise, tests = ''] of rows) {
    const files = [...tests.matchAll(/`([^`]+\.ts)`/g)].map(([, file]) => file as string)
    expect([promise, files.length > 0]).toEqual([promise, true])
    for (const file of files) {
      const path = file.startsWith('packages/') ? file : join('packages/session-pgsql/test', file)
      expect([file, existsSync(join(root, path))]).toEqual([file, true])
    }
  }
})

test('links lead to pages that exist', () => {
  for (const [, link = ''] of page.matchAll(/\]\(([\w-]+\.md)\)/g)) {
    expect([link, existsSync(join(root, 'docs', link))]).toEqual([link, true])
  }
})
