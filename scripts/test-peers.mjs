/**
 * Runs the tests of each adapter with the oldest version of its framework that the package accepts, and with the newest
 * one of npm: the two ends of `peerDependencies`.
 *
 * usage: node test-peers.mjs [PACKAGE...]
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { install } from './install.mjs'

/**
 * Not here: @fastify/session, whose oldest version has a file of the quick tests (adapters/fastify-11-1-2); PGlite, whose
 * databases the tests prepare with the installed version; @opentelemetry/api, of which an SDK accepts one minor version.
 */
const TESTS = {
  '@hono/session': ['adapters/hono.test'],
  'better-auth': ['adapters/better-auth.test'],
  'express-session': ['express/', 'adapters/express.test'],
  'koa-session': ['adapters/koa.test'],
  'react-router': ['adapters/react-router.test'],
  unstorage: ['adapters/unstorage.test'],
}

const description = new URL('../packages/session-pgsql/package.json', import.meta.url)
const { peerDependencies } = JSON.parse(readFileSync(description, 'utf8'))
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(TESTS)
const failed = []
for (const name of names) {
  const range = peerDependencies[name]
  const [oldest] = /\d+\.\d+\.\d+/.exec(range)
  for (const version of [oldest, 'latest']) {
    console.log(`\n=== ${name} ${version} (${range})`)
    if (!passes(name, version)) failed.push(`${name}@${version}`)
  }
}
console.log(failed.length === 0 ? 'All passed' : `FAILED: ${failed.join(', ')}`)
if (failed.length > 0) process.exitCode = 1

function passes(name, version) {
  const folder = install(`${name}@${version}`.replaceAll('/', '-'), [`${name}@${version}`])
  const tests = TESTS[name].map((path) => `packages/session-pgsql/test/${path}`)
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'quick', ...tests]
  const env = { ...process.env, SESSION_PGSQL_TEST_PEERS: folder }
  return spawnSync(process.execPath, args, { env, stdio: 'inherit' }).status === 0
}
