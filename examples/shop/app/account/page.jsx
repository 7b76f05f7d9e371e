import { redirect } from 'next/navigation'
import { userAgentFromString } from 'next/server'
import { sessions } from '../../lib/sessions.js'
import { deleteAccount, endDevice, signOut } from '../actions.js'
import { Time } from '../time.jsx'

export default async function Page({ searchParams }) {
  // Not `read()`, which has no list of devices.
  const session = await sessions().session()
  const user = session.get('user')
  if (user === undefined) redirect('/sign-in')
  const devices = await session.devices()
  const { failed } = await searchParams
  return (
    <>
      <h1>Account of {user.name}</h1>
      <section>
        <h2>Where you are signed in</h2>
        <ul className="rows">
          {devices.map((device) => (
            <li key={device.handle}>
              <div>
                <strong>{deviceName(device.data.agent)}</strong>
                {device.isCurrent && <span className="badge">this device</span>}
                <p>
                  First seen <Time date={device.firstSeen} />
                </p>
                <p>
                  Last seen <Time date={device.lastSeen} />
                </p>
              </div>
              <form action={device.isCurrent ? signOut : endDevice.bind(null, device.handle)}>
                <button type="submit" className="quiet">
                  Sign out
                </button>
              </form>
            </li>
          ))}
        </ul>
      </section>
      <section>
        <h2>Delete the account</h2>
        <form action={deleteAccount} className="card">
          {failed !== undefined && <p role="alert">The password is wrong.</p>}
          <label>
            Your password
            <input name="password" type="password" autoComplete="current-password" required />
          </label>
          <button type="submit" className="danger">
            Delete account
          </button>
          <p>This signs you out on all devices.</p>
        </form>
      </section>
      <p>
        <a href="/signed-in">Who is signed in?</a> (for administrators)
      </p>
    </>
  )
}

/** Returns for example "Firefox on Windows". */
function deviceName(agent) {
  const { browser, os } = userAgentFromString(agent)
  return `${browser.name ?? 'Unknown browser'} on ${os.name ?? 'an unknown system'}`
}
