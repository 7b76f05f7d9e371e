import { begin } from '../lib/requests.js'

export async function POST(context) {
  const { session, key, value } = await begin(context)
  session.set(key, value)
  return new Response('done\n')
}
