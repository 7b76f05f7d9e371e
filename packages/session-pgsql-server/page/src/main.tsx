import { render } from 'preact'
import { App } from './app.tsx'
import { getMe } from './client.ts'
import { connect, disconnect, retryWhileUnreachable } from './live.ts'
import { me, startClock } from './state.ts'

/** Renders the page, loads the user and connects the live stream. */

const root = document.getElementById('app')
if (root !== null) render(<App />, root)

startClock()
retryWhileUnreachable()
let signedIn = false
me.subscribe((user) => {
  if (user?.signedIn === true && !signedIn) connect()
  if (user?.signedIn === false) disconnect()
  signedIn = user?.signedIn === true
})
// After a failure retryWhileUnreachable asks again.
getMe().catch(() => {})
