'use server'

import { sessions } from '../lib/sessions.js'

export async function signIn(form) {
  const session = await sessions.session()
  session.regenerate()
  session.set('user', form.get('user'))
  session.field = form.get('user')
  await session.commit()
}

export async function signOut() {
  const session = await sessions.session()
  session.destroy()
  await session.commit()
}
