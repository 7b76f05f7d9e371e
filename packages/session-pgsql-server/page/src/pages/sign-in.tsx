import { useState } from 'preact/hooks'
import { signIn } from '../client.ts'
import { Problem } from '../components/common.tsx'

export function SignInPage() {
  const [failure, setFailure] = useState<string>()
  const [busy, setBusy] = useState(false)
  const submit = async (form: HTMLFormElement) => {
    setBusy(true)
    setFailure(undefined)
    try {
      await signIn(String(new FormData(form).get('password')))
    } catch (error) {
      setFailure((error as Error).message)
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
        <p class="muted">Enter the operators’ or the readers’ password of this console.</p>
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
          {busy ? 'Please wait…' : 'Sign in'}
        </button>
      </form>
    </main>
  )
}
