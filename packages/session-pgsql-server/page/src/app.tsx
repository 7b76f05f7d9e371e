import { useEffect, useRef } from 'preact/hooks'
import { signOut } from './client.ts'
import { Asking } from './components/ask.tsx'
import { Shape } from './components/small.tsx'
import { live } from './live.ts'
import { AuditPage } from './pages/audit.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { SessionPage } from './pages/session.tsx'
import { SessionsPage } from './pages/sessions.tsx'
import { SignInPage } from './pages/sign-in.tsx'
import { go, href, type PageName, route } from './route.ts'
import { away, me, outcome, tell } from './state.ts'
import { choose, theme } from './theme.ts'

const TITLES: Readonly<Record<PageName, string>> = {
  overview: 'Overview',
  sessions: 'Sessions',
  session: 'A session',
  audit: 'Audit log',
}

/** The field that the key / leads to. */
const SEARCH = 'search'

/** What is to have the focus once the page with it is there; otherwise that is the page's heading. */
let wanted: string | undefined

const focus = (id: string): void => document.getElementById(id)?.focus()

/** The frame around every page. */
export function App() {
  const who = me.value
  useEffect(() => {
    const slash = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      const writing = target.closest('input, select, textarea, dialog') !== null
      if (event.key !== '/' || writing || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      if (document.getElementById(SEARCH) !== null) return focus(SEARCH)
      wanted = SEARCH
      go('sessions')
    }
    document.addEventListener('keydown', slash)
    return () => document.removeEventListener('keydown', slash)
  }, [])
  return (
    <>
      <Header />
      <Away />
      {who?.signedIn === true && <Page />}
      {who?.signedIn === false && <SignInPage />}
      {who === undefined && away.value === 'nobody' && <main class="muted">One moment…</main>}
      <Outcome />
      <Asking />
    </>
  )
}

function Header() {
  const who = me.value
  return (
    <header>
      <a class="brand" href={href('overview')}>
        <img src="./icon.svg" alt="" width="26" height="26" />
        <span>
          session-pgsql <span class="muted broad">console</span>
        </span>
      </a>
      {who?.signedIn === true && <Navigation />}
      <div class="header-end">
        {who?.role === 'reader' && <span class="role">read only</span>}
        {who?.signedIn === true && who.passwordNeeded && (
          <button type="button" class="quiet" onClick={() => void leave()}>
            Sign out
          </button>
        )}
        <ThemeButton />
      </div>
    </header>
  )
}

async function leave(): Promise<void> {
  try {
    await signOut()
  } catch (error) {
    tell((error as Error).message, true)
  }
}

function Navigation() {
  const { page } = route.value
  return (
    <nav aria-label="Pages">
      {(['overview', 'sessions', 'audit'] as const).map((name) => (
        <a
          key={name}
          href={href(name)}
          aria-current={name === page || (name === 'sessions' && page === 'session') ? 'page' : undefined}
        >
          {TITLES[name]}
        </a>
      ))}
    </nav>
  )
}

function ThemeButton() {
  const other = theme.value === 'dark' ? 'light' : 'dark'
  return (
    <button type="button" class="quiet icon" title={`Make it ${other}`} onClick={() => choose(other)}>
      <span class="hidden">Make it {other}</span>
      <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
        {other === 'light' ? (
          <>
            <circle cx="10" cy="10" r="3.6" fill="currentColor" />
            <path
              d="M10 1.5v3M10 15.5v3M1.5 10h3M15.5 10h3M4 4l2.1 2.1M13.9 13.9 16 16M16 4l-2.1 2.1M6.1 13.9 4 16"
              stroke="currentColor"
              stroke-width="1.7"
              stroke-linecap="round"
            />
          </>
        ) : (
          <path d="M16.5 12.3A7 7 0 0 1 7.7 3.5a7 7 0 1 0 8.8 8.8z" fill="currentColor" />
        )}
      </svg>
    </button>
  )
}

/** Says who does not answer. That it is over is said too, for those who do not see it. */
function Away() {
  const who = away.value
  const { page } = route.value
  return (
    <div role="status" class={who === 'nobody' ? 'hidden' : 'away'}>
      {who !== 'nobody' && <Shape tone="bad" />}
      {who === 'console' && (
        <span>
          <b>The console does not answer.</b> It may be starting anew, or the network is cut. This page tries
          again every two seconds{shownIsOld()}.
        </span>
      )}
      {who === 'database' && (
        <span>
          <b>The database does not answer.</b> The console itself is there. This page tries again every two
          seconds{shownIsOld()}.
        </span>
      )}
      {who === 'nobody' && live.value && page === 'overview' && 'Connected'}
    </div>
  )
}

const shownIsOld = (): string => (me.value?.signedIn === true ? '; what it shows is how it was before' : '')

function Page() {
  const { page, query } = route.value
  const main = useRef<HTMLElement>(null)
  const first = useRef(true)
  const id = query.get('id') ?? ''
  // Another session is another page.
  useEffect(() => {
    document.title = `${TITLES[page]} · session-pgsql console`
    // Who cannot see that the page has changed is taken to where it begins.
    if (wanted !== undefined) focus(wanted)
    else if (!first.current) main.current?.querySelector('h1')?.focus()
    wanted = undefined
    first.current = false
    scrollTo(0, 0)
  }, [page, id])
  return (
    <main ref={main}>
      {page === 'overview' && <OverviewPage />}
      {page === 'sessions' && <SessionsPage />}
      {page === 'session' && <SessionPage key={id} id={id} />}
      {page === 'audit' && <AuditPage />}
    </main>
  )
}

function Outcome() {
  const text = outcome.value
  return (
    <div class="outcome" role="status">
      {text !== undefined && (
        <p class={text.failed ? 'failed' : ''}>
          <Shape tone={text.failed ? 'bad' : 'good'} />
          <span>{text.text}</span>
          <button
            type="button"
            class="quiet"
            onClick={() => {
              outcome.value = undefined
            }}
          >
            Close
          </button>
        </p>
      )}
    </div>
  )
}
