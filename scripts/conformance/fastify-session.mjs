/**
 * Runs @fastify/session's own tests with our store in the place of its TestStore, behind our plugin.
 *
 *   git clone https://github.com/fastify/session && (cd session && npm install)
 *   npm run build
 *   npx tsx scripts/conformance/fastify-session.mjs ./session [18 | 15 | pglite]
 *
 * See fastify-session-preload.cjs. What is tested is what was built, in CommonJS.
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
