import { redirect } from 'next/navigation'
import { sessions } from '../../lib/sessions.js'
import { signIn } from '../actions.js'

export default async function Page({ searchParams }) {
  const session = await sessions().read()
  if (session.get('user') !== undefined) redirect('/account')
  const { failed } = await searchParams
  return (
    <>
      <h1>Sign in</h1>
      <form action={signIn} className="card">
        {failed !== undefined && <p role="alert">The email address or the password is wrong.</p>}
        <label>
          Email address
          <input name="email" type="email" autoComplete="username" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <button type="submit">Sign in</button>
      </form>
      <p>The terminal that started the shop shows the demo accounts.</p>
    </>
  )
}
