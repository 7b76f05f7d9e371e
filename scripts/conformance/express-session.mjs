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
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'

const [folder, version = '18'] = process.argv.slice(2)
const checkout = resolve(folder ?? '')
const mocha = join(checkout, 'node_modules/mocha/bin/mocha.js')
if (folder === undefined || !existsSync(mocha)) {
  console.error('Expected the folder of a checkout of expressjs/session, with its dependencies installed.')
  process.exit(2)
}

if (!existsSync(join(checkout, 'test/fixtures/server.crt'))) {
  await run('sh', ['test/support/gencert.sh'])
}
const server = version === 'pglite' ? undefined : await startPostgres({ version, settings: { fsync: 'off' } })
try {
  const preload = fileURLToPath(new URL('express-session-preload.cjs', import.meta.url))
  const environment = { SESSION_PGSQL_CONFORMANCE_DB: server?.url() ?? 'pglite' }
  const flags = ['--require', 'test/support/env', '--require', preload, '--check-leaks', '--no-exit']
  process.exitCode = await run(process.execPath, [mocha, ...flags, 'test/session.js'], environment)
} finally {
  await server?.remove()
}

function run(command, parameters, environment = {}) {
  const child = spawn(command, parameters, {
    cwd: checkout,
    env: { ...process.env, ...environment },
    stdio: 'inherit',
  })
  return new Promise((done, failed) => child.on('error', failed).on('close', (code) => done(code ?? 1)))
}
