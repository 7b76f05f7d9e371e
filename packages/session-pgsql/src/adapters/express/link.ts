import { type StoredCookie, sameAttributes } from '../shared/stored-cookie.ts'
import { type Link, registry, type Stored } from './registry.ts'

/** What binds the objects of express-session to rows; see `Link`. */

/** The link of what is to be saved or touched under this id. */
export function linkOf(sid: string, session: Stored, request: object | undefined): Link {
  const known = registry.links.get(session)
  if (known?.id === sid) return known
  // A Session that did not come from `get` is new: express-session has just generated it.
  if (known === undefined && request !== undefined && session.id === sid) {
    const link = newLink(sid)
    registry.links.set(session, link)
    return link
  }
  return { ...newLink(sid), base: undefined }
}

export function newLink(id: string): Link {
  return {
    id,
    base: null,
    seen: undefined,
    data: {},
    cookie: undefined,
    cookieless: false,
    tail: undefined,
  }
}

/** The request of a Session; undefined for a plain object. */
export function requestOf(session: object): object | undefined {
  const request = Object.getOwnPropertyDescriptor(session, 'req')
  return request !== undefined && !request.enumerable ? request.value : undefined
}

/** The ids whose access has been counted in this request. */
export function countedOf(request: object | undefined): Set<string> {
  const counted = (request && registry.counted.get(request)) ?? new Set<string>()
  if (request !== undefined) registry.counted.set(request, counted)
  return counted
}

/** The data to be stored: the link's own, brought up to date, so that what only it holds stays. */
export function upToDate(link: Link, session: Stored, cookie: StoredCookie | undefined): Stored {
  const isPlain = requestOf(session) === undefined
  const data: Stored = isPlain ? { ...session } : link.data
  if (!isPlain) {
    for (const key of Object.keys(data)) {
      // What a Session shadows (`id`, `req`, `save`, `constructor`) it could neither show nor change.
      if (!(key in session)) delete data[key]
    }
    for (const key of Object.keys(session)) data[key] = session[key]
  }
  if (link.cookieless && sameAttributes(cookie, link.cookie)) delete data.cookie
  else data.cookie = cookie ?? null
  return data
}
