import { render } from 'preact'
import { App } from './app.tsx'
import { getMe, signIn } from './client.ts'
import { connect, disconnect, retryWhileUnreachable } from './live.ts'
import { takeToken } from './route.ts'
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
const token = takeToken()
// Without a token, or if it is from before a restart of the console, the page asks who the user is.
const signedInWithToken = token === undefined ? Promise.reject() : signIn(token)
// After a failure retryWhileUnreachable asks again.
signedInWithToken.catch(getMe).catch(() => {})
