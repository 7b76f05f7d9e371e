import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../../../..')
const page = readFileSync(join(root, 'docs/frameworks.md'), 'utf8')
const { exports } = JSON.parse(readFileSync(join(root, 'packages/session-pgsql/package.json'), 'utf8'))

test('each row names tests that exist', () => {
  const rows = page.split('\n').filter((line) => /^\| (?!framework|---)/.test(line))
  expect(rows.length).toBeGreaterThan(15)
  for (const row of rows) {
    const [tests = ''] = row.split(' | ').slice(-1)
    const files = [...tests.matchAll(/`([^`]+)`/g)].map(([, file]) => file as string)
    expect([row, files.length > 0]).toEqual([row, true])
    for (const file of files) {
      const path = file.startsWith('packages/') ? file : join('packages/session-pgsql/test', file)
      expect([file, existsSync(join(root, path))]).toEqual([file, true])
    }
  }
})

test('names every adapter of the package', () => {
  const adapters = Object.keys(exports).filter(
    (path) => !['.', './package.json', './testing', './opentelemetry'].includes(path),
  )
  for (const path of adapters) expect(page).toContain(path.replace('./', '`session-pgsql/'))
})

test('links lead to pages and examples that exist', () => {
  for (const [, link = ''] of page.matchAll(/\]\(([\w./-]+?)(?:#[\w-]+)?\)/g)) {
    expect([link, existsSync(join(root, 'docs', link))]).toEqual([link, true])
  }
})
