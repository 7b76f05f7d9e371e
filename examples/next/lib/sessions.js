import { createSessions } from 'session-pgsql/next'

export const sessions = createSessions({
  db: process.env.DATABASE_URL ?? `pglite:${process.env.FOLDER ?? '.sessions'}`,
  // Set by the tests.
  ...JSON.parse(process.env.SESSION_OPTIONS ?? '{}'),
  // For an example on your own machine. A real site needs a secret.
  secret: 'an example has no secrets',
})
