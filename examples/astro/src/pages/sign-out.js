import { driver } from '../lib/sessions.js'

export async function POST({ session }) {
  await driver.destroy(session)
  return new Response('done\n')
}
