import type { Stored } from './session-data.ts'
import { type StoredCookie, sameAttributes } from './stored-cookie.ts'
import type { WorkingCopy } from './working-copy.ts'

/** Links a session object that has a cookie, of express-session or @fastify/session, to its row. */
export interface SessionLink {
  readonly copy: WorkingCopy
  /** The cookie when the object and the row last agreed. */
  cookie: StoredCookie | undefined
  /** The row has no cookie, as rows of PHP. It gets one only if the application changes the cookie. */
  readonly cookieless: boolean
  /** The keys of the row that the object hides; see `withhold`. */
  withheld: Stored
}

/** Returns what to store for a session object: its keys, its cookie in stored form, and the withheld keys. */
export function storedForm(
  { cookie: before, cookieless, withheld }: SessionLink,
  { cookie: _, ...data }: Stored,
  cookie: StoredCookie | null | undefined,
): Stored {
  const isLeftOut = cookie === undefined || (cookieless && sameAttributes(cookie ?? undefined, before))
  return { ...(isLeftOut ? {} : { cookie }), ...data, ...withheld }
}
