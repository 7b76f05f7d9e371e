/** `bun main.js`. FOLDER: the folder of the database (default: .sessions in the current folder). PORT: default 3000. */
import { Elysia } from 'elysia'
import { edited } from 'session-pgsql/testing'
import { createSessions } from 'session-pgsql/web'
import { session } from './session.js'

const { DATABASE_URL, FOLDER = '.sessions', PAUSE_URL, PORT = '3000', SESSION_OPTIONS = '{}' } = process.env

const sessions = createSessions({
  db: DATABASE_URL ?? `pglite:${FOLDER}`,
  // Set by the tests.
  ...JSON.parse(SESSION_OPTIONS),
  // For an example on your own machine. A real site needs a secret.
  secret: 'an example has no secrets',
})

/** With the parameter `wait`: waits for so many milliseconds, or until PAUSE_URL answers, which the tests set. */
async function pause({ query: { wait } }) {
  if (wait === undefined) return
  await (PAUSE_URL ? fetch(PAUSE_URL + wait) : new Promise((done) => setTimeout(done, Number(wait))))
}

const app = new Elysia()
  .use(session(sessions))
  .onBeforeHandle(pause)
  .get('/read', ({ session }) => session.data)
  .post('/set', ({ session, query: { key, value } }) => {
    session.set(key, value)
    return 'done\n'
  })
  .post('/delete', ({ session, query: { key } }) => {
    session.delete(key)
    return 'done\n'
  })
  .post('/edit', ({ session, query: { key, path, value } }) => {
    session.set(key, edited(session.get(key), path, value))
    return 'done\n'
  })
  .post('/count', async ({ session, query: { key, also } }) => {
    session.set(also, '1')
    // Atomic: of overlapping requests, each gets a number of its own.
    const { value } = await session.update((data) => {
      data[key] = Number(data[key] ?? 0) + 1
      return data[key]
    })
    return String(value)
  })
  .post('/sign-in', ({ session, query: { user } }) => {
    // A new id at the login: an attacker who knows the old id is not logged in.
    session.regenerate()
    session.set('user', user)
    session.field = user
    return 'done\n'
  })
  .post('/sign-out', ({ session }) => {
    session.destroy()
    return 'done\n'
  })
  .listen({ port: Number(PORT), hostname: '127.0.0.1' })
console.log(`Listening on http://127.0.0.1:${app.server.port}. Press Ctrl+C to stop; the sessions are kept.`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await app.stop(true)
    await sessions.close()
    process.exit()
  })
}
