/**
 * Runs React Router's own tests of sessions with createPgsqlSessionStorage instead of its storages in memory and files.
 *
 *   git clone https://github.com/remix-run/react-router
 *   npm run build
 *   npx tsx bench/conformance/frameworks/react-router.mjs ./react-router [18 | 15 | pglite]
 */
import { runVitest } from './run.mjs'

await runVitest(
  'react-router',
  'packages/react-router/lib/server-runtime/sessions.ts',
  'a checkout of remix-run/react-router',
)
