import { begin } from '../../lib/requests.js'

export async function POST(request) {
  const { session, user } = await begin(request)
  // A new id at the login: an attacker who knows the old id is not logged in.
  session.regenerate()
  session.set('user', user)
  session.field = user
  await session.commit()
  return new Response('done\n')
}
