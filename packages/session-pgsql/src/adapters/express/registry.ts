import type { SaveHandler } from '../../save-handler.ts'
import { RequestState } from '../shared/request-state.ts'
import type { Stored } from '../shared/session-data.ts'
import type { SessionLink } from '../shared/session-link.ts'
import { WorkingCopy } from '../shared/working-copy.ts'

/** What the adapter keeps about objects of Express and express-session. */
interface Registry {
  /** By session object: what `get` returned, and the Session made from it. */
  readonly links: WeakMap<object, SessionLink>
  /** By request. */
  readonly requests: WeakMap<object, RequestState>
}

const KEY: unique symbol = Symbol.for('session-pgsql.express') as never
const shared = globalThis as { [KEY]?: Registry }
shared[KEY] ??= { links: new WeakMap(), requests: new WeakMap() }

/** One registry for all copies of this module: an application may import the store and require `pgsqlSession`. */
const registry: Registry = shared[KEY]

export const links: Registry['links'] = registry.links

/** Returns the link of the session object that is saved or touched under this id. */
export function linkOf(
  sessions: SaveHandler<Stored>,
  sid: string,
  session: Stored,
  request: object | undefined,
): SessionLink {
  const known = links.get(session)
  if (known?.copy.id === sid) return known
  // A Session that `get` did not return is new: express-session has just generated it.
  const isNew = known === undefined && request !== undefined && session.id === sid
  const link = newLink(new WorkingCopy(sessions, sid, isNew ? null : undefined))
  if (isNew) links.set(session, link)
  return link
}

/** Returns the link of a session object whose row was not read. */
export function newLink(copy: WorkingCopy): SessionLink {
  return { copy, cookie: undefined, cookieless: false, withheld: {} }
}

/** Returns the request of a Session; undefined for a plain object. */
export function requestOf(session: object): object | undefined {
  const request = Object.getOwnPropertyDescriptor(session, 'req')
  return request !== undefined && !request.enumerable ? request.value : undefined
}

/** Returns what is kept for a request. A plain object has none: each of its saves is a request of its own. */
export function stateOf(request: object | undefined): RequestState {
  const known = request && registry.requests.get(request)
  if (known !== undefined) return known
  const state = new RequestState()
  if (request !== undefined) registry.requests.set(request, state)
  return state
}
