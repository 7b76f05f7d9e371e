/**
 * Runs koa-session's own tests of stores with PgsqlStore instead of its test store.
 *
 *   git clone https://github.com/koajs/session && (cd session && npm install --ignore-scripts)
 *   npm run build
 *   npx tsx bench/conformance/frameworks/koa-session.mjs ./session [18 | 15 | pglite]
 */
import { runVitest } from './run.mjs'

await runVitest(
  'koa-session',
  'test/store.ts',
  'a checkout of koajs/session, with its dependencies installed',
)
