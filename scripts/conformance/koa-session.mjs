/**
 * Runs koa-session's own tests of stores with ours in the place of theirs.
 *
 *   git clone https://github.com/koajs/session && (cd session && npm install --ignore-scripts)
 *   npm run build
 *   npx tsx scripts/conformance/koa-session.mjs ./session [18 | 15 | pglite]
 */
import { vitestOn } from './run.mjs'

await vitestOn('koa-session', 'test/store.ts', 'a checkout of koajs/session, with its dependencies installed')
