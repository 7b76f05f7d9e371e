import { createSessions } from 'session-pgsql/web'
import { DATABASE_URL, SESSION_OPTIONS, SESSION_SECRET } from '$app/env/private'

let sessions

/** Not at the import: `vite build` imports this file where no secret is set. */
export function init() {
  sessions = createSessions({
    db: DATABASE_URL ?? 'pglite:.sessions',
    ...JSON.parse(SESSION_OPTIONS ?? '{}'),
    // For an example on your own machine. A real site needs a secret.
    secret: SESSION_SECRET ?? 'an example has no secrets',
  })
}

export async function handle({ event, resolve }) {
  const session = await sessions.session(event.request, { address: event.getClientAddress() })
  event.locals.session = session
  const response = await resolve(event)
  const cookie = await session.commit()
  if (cookie) response.headers.append('set-cookie', cookie.header)
  return response
}
