import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectTestFiles } from './named-tests.ts'

const root = join(import.meta.dirname, '../../../..')
const page = readFileSync(join(root, 'docs/frameworks.md'), 'utf8')
const { exports } = JSON.parse(readFileSync(join(root, 'packages/session-pgsql/package.json'), 'utf8'))

test('each row names tests that exist', () => {
  const rows = page.split('\n').filter((line) => /^\| (?!framework|---)/.test(line))
  expect(rows.length).toBeGreaterThan(15)
  for (const row of rows) {
    const [tests = ''] = row.split(' | ').slice(-1)
    expectTestFiles(
      row,
      [...tests.matchAll(/`([^`]+)`/g)].map(([, file]) => file as string),
    )
  }
})

test('names every adapter of the package', () => {
  const adapters = Object.keys(exports).filter(
    (path) => !['.', './package.json', './testing', './opentelemetry'].includes(path),
  )
  for (const path of adapters) expect(page).toContain(path.replace('./', '`session-pgsql/'))
})
