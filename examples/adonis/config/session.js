import { defineConfig } from '@adonisjs/session'
import { pgsqlStore } from 'session-pgsql/adonis'

export default defineConfig({
  age: '2 hours',
  // This example has no TLS. Leave out `secure` on a real site.
  cookie: { path: '/', httpOnly: true, sameSite: 'lax', secure: false },
  store: 'pgsql',
  stores: {
    pgsql: pgsqlStore({
      db: process.env.DATABASE_URL ?? `pglite:${process.env.FOLDER ?? '.sessions'}`,
      // Set by the tests.
      ...JSON.parse(process.env.SESSION_OPTIONS ?? '{}'),
    }),
  },
})
