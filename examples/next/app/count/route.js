import { begin } from '../../lib/requests.js'

export async function POST(request) {
  const { session, key, also } = await begin(request)
  session.set(also, '1')
  // Atomic: of overlapping requests, each gets a number of its own.
  const { value } = await session.update((data) => {
    data[key] = Number(data[key] ?? 0) + 1
    return data[key]
  })
  await session.commit()
  return new Response(String(value))
}
