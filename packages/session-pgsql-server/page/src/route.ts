import { signal } from '@preact/signals'

/**
 * Which page, from the part of the address after `#`: it is never sent to anybody, so that no id or address
 * of a session gets into a log on the way.
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

export const route = signal(current())

window.addEventListener('hashchange', () => {
  route.value = current()
})

export function href(page: PageName, query: Readonly<Record<string, string | undefined>> = {}): string {
  const wanted = Object.entries(query).flatMap(([key, value]) => (value ? [[key, value]] : []))
  const search = new URLSearchParams(wanted).toString()
  return `#/${page}${search === '' ? '' : `?${search}`}`
}

export function go(page: PageName, query?: Readonly<Record<string, string | undefined>>): void {
  location.hash = href(page, query)
}
