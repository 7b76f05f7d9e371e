import router from '@adonisjs/core/services/router'
import { updateSession } from 'session-pgsql/adonis'
import { edited } from 'session-pgsql/testing'

/**
 * Returns what a route needs. With the parameter `wait` it lets requests overlap: it waits for so many milliseconds, or
 * until PAUSE_URL answers, which the tests set.
 */
async function begin({ session, request }) {
  const { wait, ...query } = request.qs()
  if (wait !== undefined) {
    const { PAUSE_URL } = process.env
    await (PAUSE_URL ? fetch(PAUSE_URL + wait) : new Promise((done) => setTimeout(done, Number(wait))))
  }
  return { session, ...query }
}

router.get('/read', async ({ session }) => session.all())
router.post('/set', async (context) => {
  const { session, key, value } = await begin(context)
  session.put(key, value)
  return 'done\n'
})
router.post('/delete', async (context) => {
  const { session, key } = await begin(context)
  session.forget(key)
  return 'done\n'
})
router.post('/edit', async (context) => {
  const { session, key, path, value } = await begin(context)
  session.put(key, edited(session.get(key), path, value))
  return 'done\n'
})
router.post('/count', async (context) => {
  const { session, key, also } = await begin(context)
  session.put(also, '1')
  // Atomic: of overlapping requests, each gets a number of its own.
  const { value } = await updateSession(context, (data) => {
    data[key] = Number(data[key] ?? 0) + 1
    return data[key]
  })
  return String(value)
})
router.post('/sign-in', async (context) => {
  const { session, user } = await begin(context)
  // A new id at the login: an attacker who knows the old id is not logged in.
  session.regenerate()
  session.put('user', user)
  await session.tag(user)
  return 'done\n'
})
router.post('/sign-out', async (context) => {
  const { session } = await begin(context)
  session.clear()
  return 'done\n'
})
