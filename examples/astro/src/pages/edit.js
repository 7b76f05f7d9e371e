import { edited } from 'session-pgsql/testing'
import { begin } from '../lib/requests.js'

export async function POST(context) {
  const { session, key, path, value } = await begin(context)
  session.set(key, edited(await session.get(key), path, value))
  return new Response('done\n')
}
