import { begin } from '../../lib/requests.js'

export async function GET(request) {
  const { session } = await begin(request)
  // Extends the expiry.
  await session.commit()
  return Response.json(session.data)
}
