import { begin } from '../lib/requests.js'

export async function POST(context) {
  const { session, user } = await begin(context)
  // A new id at the login: an attacker who knows the old id is not logged in.
  await session.regenerate()
  session.set('user', user)
  return new Response('done\n')
}
