'use server'

import { refresh } from 'next/cache'
import { headers } from 'next/headers'
import { redirect } from 'next/navigation'
import { products } from '../lib/products.js'
import { sessions, signedInSession } from '../lib/sessions.js'
import { authenticate, deleteUser } from '../lib/users.js'

/**
 * Every function here is an endpoint that any client can call with any arguments, so each checks them. Pages of other
 * sites cannot: Next.js rejects a call whose `Origin` is not the host of the request, and browsers do not send a
 * SameSite=Lax cookie with a POST of another site.
 */

/** Atomic: of two tabs that add the same book at the same time, each counts. */
export async function addToCart(id) {
  if (!products.some((product) => product.id === id)) return
  const session = await sessions().session()
  await session.update((data) => {
    data.cart ??= []
    const line = data.cart.find((one) => one.id === id)
    if (line === undefined) data.cart.push({ id, quantity: 1 })
    else line.quantity += 1
  })
  await session.commit()
  refresh()
}

/** Merged: what another tab adds at the same time stays in the cart. */
export async function removeFromCart(id) {
  const session = await sessions().session()
  const cart = session.get('cart') ?? []
  session.set(
    'cart',
    cart.filter((line) => line.id !== id),
  )
  await session.commit()
  refresh()
}

export async function signIn(form) {
  const user = await authenticate(form)
  if (user === undefined) redirect('/sign-in?failed')
  const session = await sessions().session()
  // A visitor keeps the cart. The cart of another user does not.
  if (session.get('user') !== undefined) session.destroy()
  // A new id: an attacker who knows the old one is not signed in.
  session.regenerate()
  session.set('user', user)
  session.set('agent', (await headers()).get('user-agent') ?? '')
  // For the list of devices.
  session.field = String(user.id)
  await session.commit()
  redirect('/account')
}

export async function signOut() {
  const session = await sessions().session()
  session.destroy()
  await session.commit()
  redirect('/')
}

/** The handle cannot be used to sign in, and ends no session of another user. */
export async function endDevice(handle) {
  const session = await signedInSession()
  await session.endDevice(String(handle))
  await session.commit()
  refresh()
}

export async function deleteAccount(form) {
  const session = await signedInSession()
  if (!(await deleteUser(session.get('user').id, form.get('password')))) redirect('/account?failed')
  // The trigger has ended this session like all others. This removes the cookie.
  session.destroy()
  await session.commit()
  redirect('/')
}
