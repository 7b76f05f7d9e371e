import { render } from 'preact'
import { App } from './app.tsx'
import { getMe } from './client.ts'
import { follow, unfollow, watchAway } from './live.ts'
import { keepTime, me } from './state.ts'

/** Starts the page: who am I, then what there is to see. */

const root = document.getElementById('app')
if (root !== null) render(<App />, root)

keepTime()
watchAway()
let signedIn = false
me.subscribe((is) => {
  if (is?.signedIn === true && !signedIn) follow()
  if (is?.signedIn === false) unfollow()
  signedIn = is?.signedIn === true
})
// Who is away now is asked again by watchAway.
getMe().catch(() => {})
