import { cartItems, sessions } from '../lib/sessions.js'
import './shop.css'

export const metadata = { title: 'A small bookshop' }

/** The links load whole pages, because `<Link>` does not render this layout again: it would show a user who is out. */
export default async function Layout({ children }) {
  const session = await sessions().read()
  const user = session.get('user')
  return (
    <html lang="en">
      <body>
        <header>
          <a className="home" href="/">
            A small bookshop
          </a>
          <nav>
            <a href="/cart">Cart ({cartItems(session.get('cart'))})</a>
            {user === undefined ? <a href="/sign-in">Sign in</a> : <a href="/account">{user.name}</a>}
          </nav>
        </header>
        <main>{children}</main>
      </body>
    </html>
  )
}
