import { useState } from 'preact/hooks'
import { Failure, signIn } from '../client.ts'
import { Problem } from '../components/small.tsx'

export function SignInPage() {
  const [failure, setFailure] = useState<string>()
  const [busy, setBusy] = useState(false)
  const submit = async (form: HTMLFormElement) => {
    setBusy(true)
    setFailure(undefined)
    try {
      await signIn(String(new FormData(form).get('password')))
    } catch (error) {
      const wrong = error instanceof Failure && error.status === 401
      setFailure(wrong ? 'That is not the password.' : (error as Error).message)
      setBusy(false)
      form.querySelector('input')?.select()
    }
  }
  return (
    <main class="sign-in">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault()
          void submit(event.currentTarget)
        }}
      >
        <h1>Sign in</h1>
        <p class="muted">This console asks for the password or token that it was started with.</p>
        <label for="password">Password</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="current-password"
          required
          autofocus
          aria-invalid={failure !== undefined}
        />
        {failure !== undefined && <Problem text={failure} />}
        <button type="submit" class="main" disabled={busy}>
          {busy ? 'One moment…' : 'Sign in'}
        </button>
      </form>
    </main>
  )
}
