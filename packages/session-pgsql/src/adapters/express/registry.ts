import type { WriteResult } from '../../operations.ts'
import type { SessionRecord } from '../../session/record.ts'
import type { StoredCookie } from '../shared/stored-cookie.ts'

/** The data of a session as it is stored: what the application keeps, and the cookie's attributes. */
export type StoredData<Data = Record<string, unknown>> = Partial<Omit<Data, 'cookie'>> & {
  cookie?: StoredCookie | null
}

/** The same, of whatever application. */
export type Stored = Record<string, unknown>

/** What ties an object that express-session holds to the row that it was made from. */
export interface Link {
  readonly id: string
  /** As it was last read or written; null: it is new; undefined: nothing is known of what is there. */
  base: Pick<WriteResult<Stored>, 'session'> | null | undefined
  /** What the data looked like then, where that is not the base's data. */
  seen: Stored | undefined
  /** What was read, brought up to date for each write. It holds what a Session cannot: keys such as `save`. */
  readonly data: Stored
  /** The cookie as it was when it was last in step. */
  cookie: StoredCookie | undefined
  /** The row has none, as PHP's have none: it is not given one as long as nobody changes it. */
  readonly cookieless: boolean
  /** The last of the saves and touches that are under way. Never rejects. */
  tail: Promise<void> | undefined
}

/** What a request has to record about its session: kept until the next save or touch takes it. */
export interface MetadataUpdate {
  custom?: string | null | undefined
  errors?: Errors | undefined
}

export interface Errors {
  errors: number
  warnings: number
  notices: number
  message?: string | undefined
}

/** What is kept beside objects that are not ours. */
interface Registry {
  /** By what `get` gave, and by the Session. */
  readonly links: WeakMap<object, Link>
  /** By request. */
  readonly metadata: WeakMap<object, MetadataUpdate>
  /** By request: the ids whose access has been counted. */
  readonly counted: WeakMap<object, Set<string>>
}

const KEY: unique symbol = Symbol.for('session-pgsql.express') as never
const shared = globalThis as { [KEY]?: Registry }
shared[KEY] ??= { links: new WeakMap(), metadata: new WeakMap(), counted: new WeakMap() }

/** One for all copies of this module: `pgsqlSession` may be required where the store was imported. */
export const registry: Registry = shared[KEY]

/** The record that the next write is based on. */
export function baseOf({ base }: Link): SessionRecord<Stored> | null | undefined {
  return base === null ? null : base?.session
}
