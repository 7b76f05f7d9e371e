import { sessions } from '../lib/sessions.js'

export const metadata = { title: 'session-pgsql' }

export default async function Layout({ children }) {
  const session = await sessions.read()
  return (
    <html lang="en">
      <body>
        <header>{session.get('user') ?? 'Not logged in'}</header>
        {children}
      </body>
    </html>
  )
}
