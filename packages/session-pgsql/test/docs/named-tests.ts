import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'

const root = join(import.meta.dirname, '../../../..')

/**
 * Expects a cell of a page's table to name test files, all of which exist.
 *
 * @param row tells which row fails
 * @param files their paths below packages/session-pgsql/test, or below the repository if they begin with `packages/`
 */
export function expectTestFiles(row: string, files: readonly string[]): void {
  expect([row, files.length > 0]).toEqual([row, true])
  for (const file of files) {
    const path = file.startsWith('packages/') ? file : join('packages/session-pgsql/test', file)
    expect([file, existsSync(join(root, path))]).toEqual([file, true])
  }
}

/** The name of a test file and the title of a test, as pages name them. */
const NAMED = /`([^`]+\.ts)` “([^”]+)”/g

/** Returns the path of a test file that a page names. */
function pathOf(file: string): string {
  const library = 'session-pgsql/'
  return file.startsWith(library)
    ? join(root, 'packages/session-pgsql/test', file.slice(library.length))
    : join(root, 'packages/session-pgsql-server/test', file)
}

/**
 * Expects the tests that a cell of a page's table names to exist.
 *
 * @returns the number of tests, and what else is in the cell
 */
export function expectNamedTests(cell: string): { count: number; others: string[] } {
  const named = [...cell.matchAll(NAMED)]
  for (const [, file = '', title = ''] of named) {
    const path = pathOf(file)
    expect([file, existsSync(path)]).toEqual([file, true])
    expect([file, title, readFileSync(path, 'utf8').includes(`'${title}'`)]).toEqual([file, title, true])
  }
  const others = cell
    .replaceAll(NAMED, '')
    .split(',')
    .map((other) => other.trim())
    .filter((other) => other !== '')
  return { count: named.length, others }
}
