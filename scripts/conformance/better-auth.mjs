/**
 * Runs better-auth's own tests of secondary storages on ours. They want Node.js 22 or later.
 *
 *   git clone --branch v1.7.1 https://github.com/better-auth/better-auth && (cd better-auth && pnpm install)
 *   npm run build
 *   npx tsx scripts/conformance/better-auth.mjs ./better-auth [18 | 15 | pglite]
 */
import { vitestOn } from './run.mjs'

await vitestOn(
  'better-auth',
  'packages/better-auth/src/db/secondary-storage.test.ts',
  'a checkout of better-auth/better-auth, with its dependencies installed',
)
