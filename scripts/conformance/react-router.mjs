/**
 * Runs React Router's own tests of sessions with ours in the place of its sessions in memory and in files.
 *
 *   git clone https://github.com/remix-run/react-router
 *   npm run build
 *   npx tsx scripts/conformance/react-router.mjs ./react-router [18 | 15 | pglite]
 */
import { vitestOn } from './run.mjs'

await vitestOn(
  'react-router',
  'packages/react-router/lib/server-runtime/sessions.ts',
  'a checkout of remix-run/react-router',
)
