/**
 * Runs better-auth's own tests of secondary storages on the adapter. They need Node.js 22 or later.
 *
 *   git clone --branch v1.7.1 https://github.com/better-auth/better-auth && (cd better-auth && pnpm install)
 *   npm run build
 *   npx tsx bench/conformance/frameworks/better-auth.mjs ./better-auth [18 | 15 | pglite]
 */
import { runVitest } from './run.mjs'

await runVitest(
  'better-auth',
  'packages/better-auth/src/db/secondary-storage.test.ts',
  'a checkout of better-auth/better-auth, with its dependencies installed',
)
