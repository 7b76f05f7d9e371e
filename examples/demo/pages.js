import Bowser from 'bowser'

/** The pages, as HTML. Every value from a session is escaped by `html`. */

const html = (value) =>
  String(value ?? '').replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const time = (date) => (date ? date.toISOString().replace('T', ' ').slice(0, 19) : '')

export function homePage({ user, visits, notes, info, row, devices, consoleUrl, busy }) {
  const greeting = user === undefined ? 'You are not signed in' : `Signed in as ${html(user)}`
  return page(`
    <section>
      <h2>${greeting}</h2>
      <p><strong class="figure">${visits}</strong> ${visits === 1 ? 'visit' : 'visits'} of this page in this session.
        Restart the demo: the count continues.</p>
      ${user === undefined ? signInForm() : '<form method="post" action="/sign-out"><button>Sign out</button></form>'}
    </section>

    <section>
      <h2>The console for operators</h2>
      <p><a href="${html(consoleUrl)}" target="_blank" rel="noopener">The console</a> shows these sessions live. Open it
        with the URL that the demo has printed. Find your own session there and end it: you are signed out here.</p>
      <p>The button sends requests of 30 visitors to this site for a minute.</p>
      <form method="post" action="/traffic"><button${busy ? ' disabled' : ''}>${busy ? 'Traffic is running' : 'Make traffic'}</button></form>
    </section>

    <section>
      <h2>Overlapping requests</h2>
      <p>The button sends two requests that overlap for 300&nbsp;ms. Each sets another key. A store in which the last
        write wins keeps only one of them.</p>
      <button id="overlap">Send both</button>
      <ul>${Object.entries(notes)
        .map(([key, at]) => `<li><code>${html(key)}</code> ${html(at)}</li>`)
        .join('')}</ul>
    </section>

    <section>
      <h2>My devices</h2>
      ${user === undefined ? '<p>Sign in here and in a private window to see them.</p>' : deviceTable(devices)}
    </section>

    <section>
      <h2>Errors of this session</h2>
      <p>${info?.errors ?? 0} recorded${info?.errorMessage ? `, the last one: <q>${html(info.errorMessage)}</q>` : ''}.
        <code>recordErrors()</code> counts an error on the session in which it occurred.</p>
      <form method="post" action="/fail"><button>Cause an error</button></form>
    </section>

    <section class="wide">
      <h2>The stored row</h2>
      <table>${Object.entries(row ?? {})
        .map(
          ([column, value]) =>
            `<tr><th>${html(column)}</th><td><code>${value === null ? '<i>NULL</i>' : html(value)}</code></td></tr>`,
        )
        .join('')}</table>
    </section>

    <script>
      document.getElementById('overlap').addEventListener('click', async (event) => {
        event.target.disabled = true
        await Promise.all(['left', 'right'].map((key) => fetch('/note/' + key, { method: 'POST' })))
        location.reload()
      })
    </script>`)
}

export function errorPage(message) {
  return page(`<section><h2>The request failed</h2><p>${html(message)}</p>
    <p>The error was counted on your session. <a href="/">Back</a></p></section>`)
}

function signInForm() {
  return `<form method="post" action="/sign-in">
    <label>Name <input name="user" required maxlength="40" autocomplete="username"></label>
    <button>Sign in</button></form>`
}

function deviceTable(devices) {
  const rows = devices.map(
    ({
      handle,
      isCurrent,
      data,
      lastAddress,
      firstSeen,
      lastSeen,
    }) => `<tr${isCurrent ? ' class="here"' : ''}>
      <td>${html(browserOf(data.agent))}${isCurrent ? ' (this device)' : ''}</td>
      <td>${html(lastAddress)}</td>
      <td>${time(firstSeen)}</td><td>${time(lastSeen)}</td>
      <td><form method="post" action="/devices/${html(handle)}/end"><button>End</button></form></td></tr>`,
  )
  return `<table><thead><tr><th>Device</th><th>Address</th><th>First seen (UTC)</th><th>Last seen (UTC)</th><th></th></tr></thead>
    <tbody>${rows.join('')}</tbody></table>
    <form method="post" action="/sign-out-everywhere"><button>Sign out everywhere</button></form>`
}

/** Returns for example "Firefox on Windows". */
function browserOf(agent = '') {
  const { browser, os } = Bowser.parse(agent || 'unknown')
  return [browser.name ?? 'Unknown browser', os.name].filter(Boolean).join(' on ')
}

function page(body) {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>session-pgsql demo</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --accent: #336791 }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem }
  main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)) }
  section { border: 1px solid var(--line); border-radius: .5rem; padding: 0 1rem 1rem; overflow-x: auto }
  .wide { grid-column: 1 / -1 }
  h1 { color: var(--accent) } h2 { font-size: 1.1rem }
  table { border-collapse: collapse; width: 100%; margin-bottom: .75rem }
  th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
  td code { overflow-wrap: anywhere }
  .here { font-weight: bold } .figure { font-size: 2rem; color: var(--accent) }
  button { padding: .4rem .9rem; border: 0; border-radius: .3rem; background: var(--accent); color: #fff; font: inherit; cursor: pointer }
  button:disabled { opacity: .5 } input { font: inherit; padding: .3rem }
</style>
<h1>session-pgsql</h1>
<main>${body}</main>
</html>`
}
