import { redirect } from 'next/navigation'
import { createSessions } from 'session-pgsql/next'
import { database } from './database.js'

/** Returns the sessions of this process, one object for all instances of this file. See `database`. */
export function sessions() {
  globalThis.shopSessions ??= createSessions({
    db: database(),
    // For a shop on your own machine. A real shop needs a secret.
    secret: process.env.SESSION_SECRET ?? 'an example has no secrets',
    // What the shop joins with its users. sql/sessions.sql creates the columns.
    columns: {
      user_id: { type: 'bigint', value: (data) => data.user?.id, index: true },
      cart_items: { type: 'integer', value: (data) => cartItems(data.cart) },
    },
  })
  return globalThis.shopSessions
}

/** Returns the session of a signed-in user, for a server action. Sends visitors to the sign-in page. */
export async function signedInSession() {
  const session = await sessions().session()
  if (session.get('user') === undefined) redirect('/sign-in')
  return session
}

/** Returns the number of items in a cart: a list of products, each with its quantity. */
export function cartItems(cart = []) {
  return cart.reduce((sum, { quantity }) => sum + quantity, 0)
}
