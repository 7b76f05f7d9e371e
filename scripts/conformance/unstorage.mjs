/**
 * Runs unstorage's own tests of drivers on ours.
 *
 *   git clone --branch v1.17.5 https://github.com/unjs/unstorage
 *   npm run build
 *   npx tsx scripts/conformance/unstorage.mjs ./unstorage [18 | 15 | pglite]
 */
import { vitestOn } from './run.mjs'

await vitestOn('unstorage', 'test/drivers/utils.ts', 'a checkout of unjs/unstorage')
