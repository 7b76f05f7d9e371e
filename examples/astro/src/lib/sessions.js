import pgsqlSessionDriver from 'session-pgsql/astro'

export const driver = pgsqlSessionDriver({
  db: process.env.DATABASE_URL ?? `pglite:${process.env.FOLDER ?? '.sessions'}`,
  // The value of this key is stored as the custom field, for `findByField` and `destroyByField`.
  field: 'user',
  // Set by the tests.
  ...JSON.parse(process.env.SESSION_OPTIONS ?? '{}'),
})
