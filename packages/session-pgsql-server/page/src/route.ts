import { signal } from '@preact/signals'

/**
 * The current page, from the fragment of the URL. Browsers do not send the fragment, so the ids and addresses in it do
 * not get into the logs of proxies.
 */
export type PageName = 'overview' | 'sessions' | 'session' | 'audit'

export interface Route {
  readonly page: PageName
  readonly query: URLSearchParams
}

const PAGES: readonly string[] = ['overview', 'sessions', 'session', 'audit'] satisfies PageName[]

function current(): Route {
  const [, page = '', search = ''] = /^#\/([^?]*)\??(.*)$/.exec(location.hash) ?? []
  return {
    page: PAGES.includes(page) ? (page as PageName) : 'overview',
    query: new URLSearchParams(search),
  }
}

/** Returns the token of a URL that a console without passwords has printed, and removes it from the address bar. */
export function takeToken(): string | undefined {
  const [, token] = /^#token=([\w-]+)$/.exec(location.hash) ?? []
  if (token !== undefined) history.replaceState(null, '', location.pathname)
  return token
}

export const route = signal(current())

window.addEventListener('hashchange', () => {
  route.value = current()
})

export function href(page: PageName, query: Readonly<Record<string, string | undefined>> = {}): string {
  const parameters = Object.entries(query).flatMap(([key, value]) => (value ? [[key, value]] : []))
  const search = new URLSearchParams(parameters).toString()
  return `#/${page}${search === '' ? '' : `?${search}`}`
}

export function go(page: PageName, query?: Readonly<Record<string, string | undefined>>): void {
  location.hash = href(page, query)
}
