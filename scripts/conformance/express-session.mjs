/**
 * Runs express-session's own tests with PgsqlStore in the place of its MemoryStore.
 *
 *   git clone https://github.com/expressjs/session && (cd session && npm install)
 *   npm run build
 *   npx tsx scripts/conformance/express-session.mjs ./session [18 | 15 | pglite]
 *
 * Nothing of theirs is kept here. Every MemoryStore that the tests make is a store of ours on a table of its
 * own; see express-session-preload.cjs. What is tested is what was built, in CommonJS.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkout, onServer, run } from './run.mjs'

const MOCHA = 'node_modules/mocha/bin/mocha.js'
const { folder, version } = checkout(
  MOCHA,
  'a checkout of expressjs/session, with its dependencies installed',
)

if (!existsSync(join(folder, 'test/fixtures/server.crt'))) {
  await run('sh', ['test/support/gencert.sh'], folder)
}
const preload = fileURLToPath(new URL('express-session-preload.cjs', import.meta.url))
const flags = ['--require', 'test/support/env', '--require', preload, '--check-leaks', '--no-exit']
await onServer(version, (environment) =>
  run(process.execPath, [MOCHA, ...flags, 'test/session.js'], folder, environment),
)
