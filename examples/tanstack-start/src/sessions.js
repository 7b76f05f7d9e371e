import { createSessions } from 'session-pgsql/web'

const { DATABASE_URL, FOLDER = '.sessions', SESSION_OPTIONS = '{}' } = process.env

export const sessions = createSessions({
  db: DATABASE_URL ?? `pglite:${FOLDER}`,
  // Set by the tests.
  ...JSON.parse(SESSION_OPTIONS),
  // For an example on your own machine. A real site needs a secret.
  secret: 'an example has no secrets',
})
