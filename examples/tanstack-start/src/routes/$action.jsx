import { createFileRoute } from '@tanstack/react-router'
import { edited } from 'session-pgsql/testing'

/** With the parameter `wait`: waits for so many milliseconds, or until PAUSE_URL answers, which the tests set. */
async function pause(wait) {
  if (wait === null) return
  const { PAUSE_URL } = process.env
  await (PAUSE_URL ? fetch(PAUSE_URL + wait) : new Promise((done) => setTimeout(done, Number(wait))))
}

async function post({ context: { session }, params, request }) {
  const { searchParams } = new URL(request.url)
  await pause(searchParams.get('wait'))
  const { key, value, path, also, user } = Object.fromEntries(searchParams)
  switch (params.action) {
    case 'set':
      session.set(key, value)
      break
    case 'delete':
      session.delete(key)
      break
    case 'edit':
      session.set(key, edited(session.get(key), path, value))
      break
    case 'count': {
      session.set(also, '1')
      // Atomic: of overlapping requests, each gets a number of its own.
      const updated = await session.update((data) => {
        data[key] = Number(data[key] ?? 0) + 1
        return data[key]
      })
      return new Response(String(updated.value))
    }
    case 'sign-in':
      // A new id at the login: an attacker who knows the old id is not logged in.
      session.regenerate()
      session.set('user', user)
      session.field = user
      break
    case 'sign-out':
      session.destroy()
      break
    default:
      return new Response('Not found.\n', { status: 404 })
  }
  return new Response('done\n')
}

export const Route = createFileRoute('/$action')({
  server: { handlers: { GET: ({ context: { session } }) => Response.json(session.data), POST: post } },
})
