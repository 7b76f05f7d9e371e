import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../../../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const library = JSON.parse(read('packages/session-pgsql/package.json'))
const server = JSON.parse(read('packages/session-pgsql-server/package.json'))

test('both packages have the version that CHANGELOG.md begins with', () => {
  const [, version] = /^## (\S+) \((?:unreleased|\d{4}-\d\d-\d\d)\)$/m.exec(read('CHANGELOG.md')) ?? []
  expect([library.version, server.version]).toEqual([version, version])
})

test('the server depends on the library of the same version', () => {
  expect(server.dependencies['session-pgsql']).toBe(library.version)
})

test("npm's description of the library is the first sentence of the README", () => {
  const [, sentence] = /^# .*\n\n([^.]*(?:\.\w[^.]*)*)\./.exec(read('README.md')) ?? []
  expect(library.description).toBe(sentence)
})
