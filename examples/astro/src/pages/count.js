import { begin } from '../lib/requests.js'
import { driver } from '../lib/sessions.js'

export async function POST(context) {
  const { session, key, also } = await begin(context)
  session.set(also, '1')
  // Atomic: of overlapping requests, each gets a number of its own.
  const { value } = await driver.update(session, (data) => {
    data[key] = Number(data[key] ?? 0) + 1
    return data[key]
  })
  return new Response(String(value))
}
