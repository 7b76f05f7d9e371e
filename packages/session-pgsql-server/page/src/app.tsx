import { useEffect, useRef } from 'preact/hooks'
import { signOut } from './client.ts'
import { Shape } from './components/common.tsx'
import { ConfirmDialog } from './components/confirm.tsx'
import { live } from './live.ts'
import { AuditPage } from './pages/audit.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { SessionPage } from './pages/session.tsx'
import { SessionsPage } from './pages/sessions.tsx'
import { SignInPage } from './pages/sign-in.tsx'
import { go, href, type PageName, route } from './route.ts'
import { me, notification, notify, unreachable } from './state.ts'
import { setTheme, theme } from './theme.ts'

const TITLES: Readonly<Record<PageName, string>> = {
  overview: 'Overview',
  sessions: 'Sessions',
  session: 'Session',
  audit: 'Audit log',
}

/** The id of the search field, which the key / focuses. */
const SEARCH = 'search'

/** The id of the element to focus after the next page change. Undefined: the page's heading. */
let focusNext: string | undefined

const focus = (id: string): void => document.getElementById(id)?.focus()

/** The frame of every page: header, outage banner, notification, dialog. */
export function App() {
  const user = me.value
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      const typing = target.closest('input, select, textarea, dialog') !== null
      if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      if (document.getElementById(SEARCH) !== null) return focus(SEARCH)
      focusNext = SEARCH
      go('sessions')
    }
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  }, [])
  return (
    <>
      <Header />
      <OutageBanner />
      {user?.signedIn === true && <Page />}
      {user?.signedIn === false && <SignInPage signInWith={user.signInWith} />}
      {user === undefined && unreachable.value === 'none' && <main class="muted">Loading…</main>}
      <NotificationBar />
      <ConfirmDialog />
    </>
  )
}

function Header() {
  const user = me.value
  return (
    <header>
      <a class="brand" href={href('overview')}>
        <img src="./icon.svg" alt="" width="26" height="26" />
        <span>
          session-pgsql <span class="muted broad">console</span>
        </span>
      </a>
      {user?.signedIn === true && <Navigation />}
      <div class="header-end">
        {user?.role === 'reader' && <span class="role">read only</span>}
        {user?.signedIn === true && (
          <button type="button" class="quiet" onClick={() => void trySignOut()}>
            Sign out
          </button>
        )}
        <ThemeButton />
      </div>
    </header>
  )
}

async function trySignOut(): Promise<void> {
  try {
    await signOut()
  } catch (error) {
    notify((error as Error).message, true)
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
    <button
      type="button"
      class="quiet icon"
      title={`Switch to ${other} theme`}
      onClick={() => setTheme(other)}
    >
      <span class="hidden">Switch to {other} theme</span>
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

/** Says that the console or the database is not responding. Screen readers hear when it responds again, too. */
function OutageBanner() {
  const what = unreachable.value
  const { page } = route.value
  return (
    <div role="status" class={what === 'none' ? 'hidden' : 'outage'}>
      {what !== 'none' && <Shape tone="bad" />}
      {what === 'console' && (
        <span>
          <b>The console is not responding.</b> It may be restarting, or the network may be down. {RETRYING}
          {staleNote()}
        </span>
      )}
      {what === 'database' && (
        <span>
          <b>The database is not responding.</b> The console itself is running. {RETRYING}
          {staleNote()}
        </span>
      )}
      {what === 'none' && live.value && page === 'overview' && 'Connected'}
    </div>
  )
}

const RETRYING = 'This page retries every two seconds.'

const staleNote = (): string => (me.value?.signedIn === true ? ' It shows the last known data.' : '')

function Page() {
  const { page, query } = route.value
  const main = useRef<HTMLElement>(null)
  const first = useRef(true)
  const id = query.get('id') ?? ''
  // Another session counts as another page.
  useEffect(() => {
    document.title = `${TITLES[page]} · session-pgsql console`
    // Moves the focus to the start of the new page, which tells users of screen readers that the page changed.
    if (focusNext !== undefined) focus(focusNext)
    else if (!first.current) main.current?.querySelector('h1')?.focus()
    focusNext = undefined
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

function NotificationBar() {
  const current = notification.value
  return (
    <div class="notification" role="status">
      {current !== undefined && (
        <p class={current.failed ? 'failed' : ''}>
          <Shape tone={current.failed ? 'bad' : 'good'} />
          <span>{current.text}</span>
          <button
            type="button"
            class="quiet"
            onClick={() => {
              notification.value = undefined
            }}
          >
            Close
          </button>
        </p>
      )}
    </div>
  )
}
