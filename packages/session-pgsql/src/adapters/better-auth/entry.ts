import { UNLIMITED } from '../shared/key-value.ts'

/**
 * The values of a secondary storage as they are stored, and how two of them are merged. better-auth's `set` does not
 * say which value it started from, but some of its values can be recognized, and tell what they mean together.
 */

/** A value as it is stored. */
export interface Entry {
  readonly value: string
  /** Milliseconds since 1970; null: it does not expire. */
  readonly until: number | null
  /** A unique text that identifies the last call of `increment` or `getAndDelete`. */
  readonly by?: string
  /** `getAndDelete` has returned the value to a caller; it reads as absent. */
  readonly taken?: true
  /** Unset: of two sets the last one wins. */
  readonly kind?: Kind
  /** Of a session: it was deleted, and later sets do not restore it. */
  readonly ended?: true
  /** Of a list: the tokens of deleted sessions, which later sets do not restore, and when they can be forgotten. */
  readonly without?: Readonly<Record<string, number>>
}

/**
 * `session`: a session and its user, under the session's token. `list`: the tokens of a user's sessions.
 * `revocation`: the time before which all sessions of a user are revoked.
 */
type Kind = 'session' | 'list' | 'revocation'

/** An element of a list. */
interface Reference {
  readonly token: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}

interface SessionAndUser {
  readonly session: { readonly token: string; readonly userId: string; readonly createdAt?: unknown }
  readonly user?: { readonly updatedAt?: unknown } | null
}

const LIST = 'active-sessions-'
const REVOCATION = 'revoked-sessions-before-'

/** Milliseconds that a deleted session without an expiry is remembered. */
const DAY = 86_400_000

/** Returns what to store for a value under a key. */
export function entryOf(key: string, value: string, until: number | null): Entry {
  const kind = kindOf(key, value)
  return { value, until, ...(kind && { kind }) }
}

function kindOf(key: string, value: string): Kind | undefined {
  if (key.startsWith(LIST)) return referencesIn(value) && 'list'
  if (key.startsWith(REVOCATION)) return /^\d+$/.test(value) ? 'revocation' : undefined
  return sessionIn(key, value) && 'session'
}

/**
 * Returns when a session ends at the latest, in milliseconds since 1970; Infinity for other values.
 *
 * @param maxLifetime seconds after its creation
 */
export function endOf(key: string, value: string, maxLifetime: number): number {
  const created = timeOf(sessionIn(key, value)?.session.createdAt)
  return Number.isNaN(created) ? Number.POSITIVE_INFINITY : created + maxLifetime * 1000
}

/** Returns true if the entry has a value for callers. */
export function isPresent(entry: Entry | undefined): entry is Entry {
  if (entry?.value === undefined || entry.taken || entry.ended) return false
  return (
    (entry.until === null || entry.until > Date.now()) && !(entry.kind === 'list' && entry.value === '[]')
  )
}

/** Returns the seconds that an entry lives. */
export function lifetimeOf({ until }: Entry): number {
  return until === null ? UNLIMITED : Math.max(0, (until - Date.now()) / 1000)
}

/** What a `delete` of an entry does. */
export interface Deletion {
  /** What to store in its place; undefined: remove the row, or leave it as it is. */
  readonly entry: Entry | undefined
  /** A list and what to merge into it, so that it loses the session. */
  readonly list?: { readonly key: string; readonly entry: Entry }
}

/**
 * Returns what a `delete` stores. A session stays deleted until it would have expired. A list stays: its tokens leave
 * it when their sessions are deleted, and better-auth deletes a list although another request may just have added to it.
 */
export function deletionOf(key: string, entry: Entry): Deletion | 'remove' {
  if (entry.ended || entry.kind === 'list') return { entry: undefined }
  const found = sessionIn(key, entry.value)
  if (found === undefined) return 'remove'
  const until = entry.until ?? Date.now() + DAY
  return {
    entry: { value: '', until, kind: 'session', ended: true },
    list: {
      key: LIST + found.session.userId,
      entry: { value: '[]', until, kind: 'list', without: { [key]: until } },
    },
  }
}

/** Settles a conflict between two entries under one key. */
export function settle(ours: Entry, theirs: Entry): Entry {
  if (ours.by !== undefined) return settleCalls(ours, theirs, ours.by)
  switch (ours.kind) {
    case 'list':
      return mergedList(ours, theirs)
    case 'revocation':
      return Number(theirs.value) > Number(ours.value) ? { ...ours, value: theirs.value } : ours
    case 'session':
      return theirs.ended ? theirs : ours.ended ? ours : withNewerUser(ours, theirs)
    default:
      return ours
  }
}

/** Settles a conflict between two calls of `increment` or `getAndDelete`. */
function settleCalls(ours: Entry, theirs: Entry, by: string): Entry {
  if (ours.taken) return theirs.taken ? theirs : { ...theirs, by, taken: true }
  return isPresent(theirs) ? { ...incremented(theirs), by } : { ...ours, value: '1' }
}

/** Returns the entry with the number incremented, and the same expiry. */
export function incremented({ value, until }: Entry): Entry {
  return { value: String((Number(value) || 0) + 1), until }
}

function mergedList(ours: Entry, theirs: Entry): Entry {
  const now = Date.now()
  const ended = Object.entries({ ...theirs.without, ...ours.without }).filter(([, until]) => until > now)
  const without = Object.fromEntries(ended)
  const references = new Map<string, Reference>()
  for (const reference of [...(referencesIn(theirs.value) ?? []), ...(referencesIn(ours.value) ?? [])]) {
    if (reference.expiresAt > now && !Object.hasOwn(without, reference.token)) {
      references.set(reference.token, reference)
    }
  }
  const merged = [...references.values()].sort((one, other) => one.expiresAt - other.expiresAt)
  const until = Math.max(now, ...merged.map(({ expiresAt }) => expiresAt), ...Object.values(without))
  return { value: JSON.stringify(merged), until, kind: 'list', without }
}

/**
 * Returns our entry; with their user if that is newer. Every set writes the user that its request has read, also if it
 * changes the session only.
 */
function withNewerUser(ours: Entry, theirs: Entry): Entry {
  const [our, their] = [parsed(ours.value), parsed(theirs.value)] as (Partial<SessionAndUser> | undefined)[]
  const isNewer = timeOf(their?.user?.updatedAt) > timeOf(our?.user?.updatedAt)
  return isNewer ? { ...ours, value: JSON.stringify({ ...our, user: their?.user }) } : ours
}

function timeOf(date: unknown): number {
  return new Date(date as string).getTime()
}

function sessionIn(key: string, value: string): SessionAndUser | undefined {
  if (!value.startsWith('{')) return undefined
  const found = parsed(value) as Partial<SessionAndUser> | undefined
  const isSession = found?.session?.token === key && typeof found.session.userId === 'string'
  return isSession ? (found as SessionAndUser) : undefined
}

function referencesIn(value: string): Reference[] | undefined {
  const found = parsed(value)
  return Array.isArray(found) && found.every(isReference) ? found : undefined
}

function isReference(element: unknown): element is Reference {
  const { token, expiresAt } = (element ?? {}) as Partial<Reference>
  return typeof token === 'string' && typeof expiresAt === 'number'
}

function parsed(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    return undefined
  }
}
