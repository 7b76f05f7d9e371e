import { sessions } from '../lib/sessions.js'
import { signIn, signOut } from './actions.js'

export default async function Page() {
  const session = await sessions.read()
  const user = session.get('user')
  if (user === undefined) {
    return (
      <form action={signIn}>
        <input name="user" placeholder="Name" required />
        <button type="submit">Log in</button>
      </form>
    )
  }
  return (
    <form action={signOut}>
      <p>Welcome, {user}.</p>
      <button type="submit">Log out</button>
    </form>
  )
}
