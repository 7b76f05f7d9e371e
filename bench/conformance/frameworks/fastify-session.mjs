/**
 * Runs @fastify/session's own tests with PgsqlStore instead of its TestStore, and with the plugin pgsqlSession.
 *
 *   git clone https://github.com/fastify/session && (cd session && npm install)
 *   npm run build
 *   npx tsx bench/conformance/frameworks/fastify-session.mjs ./session [18 | 15 | pglite]
 *
 * See fastify-session-preload.cjs. The tests use the CommonJS build.
 */
import { fileURLToPath } from 'node:url'
import { checkout, onServer, run } from './run.mjs'

const { folder, version } = checkout(
  'test/TestStore.js',
  'a checkout of fastify/session, with its dependencies installed',
)
const preload = fileURLToPath(new URL('fastify-session-preload.cjs', import.meta.url))
await onServer(version, (environment) =>
  run(
    process.execPath,
    ['--require', preload, '--test', '--test-reporter=spec', 'test/'],
    folder,
    environment,
  ),
)
