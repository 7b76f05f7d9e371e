/**
 * Runs express-session's own tests with PgsqlStore instead of its MemoryStore.
 *
 *   git clone https://github.com/expressjs/session && (cd session && npm install)
 *   npm run build
 *   npx tsx bench/conformance/frameworks/express-session.mjs ./session [18 | 15 | pglite]
 *
 * This repository has no copy of them. Each MemoryStore that the tests create is a PgsqlStore with its own table; see
 * express-session-preload.cjs. The tests use the CommonJS build.
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
