import { useState } from 'preact/hooks'
import type { Me } from '../../../src/console/api.ts'
import { signIn } from '../client.ts'
import { Problem } from '../components/common.tsx'

const TEXTS = {
  password: { label: 'Password', hint: 'Enter the operators’ or the readers’ password of this console.' },
  token: {
    label: 'Token',
    hint: 'Open the URL that the console printed when it started, or enter the token from the end of that URL.',
  },
} as const

export function SignInPage({ signInWith }: Pick<Me, 'signInWith'>) {
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
        <p class="muted">{TEXTS[signInWith].hint}</p>
        <label for="password">{TEXTS[signInWith].label}</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete={signInWith === 'token' ? 'off' : 'current-password'}
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
