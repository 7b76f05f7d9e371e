import { edited } from 'session-pgsql/testing'
import { begin } from '../../lib/requests.js'

export async function POST(request) {
  const { session, key, path, value } = await begin(request)
  session.set(key, edited(session.get(key), path, value))
  await session.commit()
  return new Response('done\n')
}
