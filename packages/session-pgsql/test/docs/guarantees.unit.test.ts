import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectTestFiles } from './named-tests.ts'

const root = join(import.meta.dirname, '../../../..')
const page = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')

test('each guarantee names tests that exist', () => {
  const rows = [...page.matchAll(/^\| (?!promise|---)(.+) \| (.+) \|$/gm)]
  expect(rows.length).toBeGreaterThan(20)
  for (const [, promise = '', tests = ''] of rows) {
    expectTestFiles(
      promise,
      [...tests.matchAll(/`([^`]+\.ts)`/g)].map(([, file]) => file as string),
    )
  }
})
