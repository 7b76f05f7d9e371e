/**
 * Runs unstorage's own tests of drivers on the adapter.
 *
 *   git clone --branch v1.17.5 https://github.com/unjs/unstorage
 *   npm run build
 *   npx tsx bench/conformance/frameworks/unstorage.mjs ./unstorage [18 | 15 | pglite]
 */
import { runVitest } from './run.mjs'

await runVitest('unstorage', 'test/drivers/utils.ts', 'a checkout of unjs/unstorage')
