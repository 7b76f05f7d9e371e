/** Replaces react-router: exports only the checkout's modules for sessions, which need no installation. */
import { join } from 'node:path'

const runtime = join(process.env.SESSION_PGSQL_CONFORMANCE_FOLDER, 'packages/react-router/lib/server-runtime')
export const { createSession, createSessionStorage, isSession } = await import(join(runtime, 'sessions.ts'))
export const { createCookie, isCookie } = await import(join(runtime, 'cookies.ts'))
