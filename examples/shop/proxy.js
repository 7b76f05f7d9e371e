import { sessions } from './lib/sessions.js'

export const config = { matcher: '/((?!_next/|icon.svg).*)' }

/** A page sets no cookie and commits no session. So this extends the expiry of users who only read pages. */
export async function proxy() {
  const session = await sessions().session()
  await session.commit()
}
