import { begin } from '../lib/requests.js'

export async function POST(context) {
  const { session, key } = await begin(context)
  session.delete(key)
  return new Response('done\n')
}
