import { begin } from '../../lib/requests.js'

export async function POST(request) {
  const { session } = await begin(request)
  session.destroy()
  await session.commit()
  return new Response('done\n')
}
