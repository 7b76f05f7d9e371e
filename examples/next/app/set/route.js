import { begin } from '../../lib/requests.js'

export async function POST(request) {
  const { session, key, value } = await begin(request)
  session.set(key, value)
  await session.commit()
  return new Response('done\n')
}
