import { begin } from '../../lib/requests.js'

export async function POST(request) {
  const { session, key } = await begin(request)
  session.delete(key)
  await session.commit()
  return new Response('done\n')
}
