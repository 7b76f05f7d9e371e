import { invalid, type SessionPgsqlError } from '../../errors.ts'
import { type Stored, setKey } from '../shared/session-data.ts'

/** A value of Astro's session, and when it ends: milliseconds since 1970. */
export interface Entry {
  readonly data: unknown
  readonly expires?: number | undefined
}

export type Entries = Map<string, Entry>

/** The key under which a row has what its other keys cannot tell, and Astro's session what it was read from. */
export const RESERVED = '$session'

/** In a row. Each key of the session is a key here, so that a merge keeps concurrent changes. */
interface Details {
  /** Values that JSON cannot represent, such as a Date, as text of devalue. */
  devalue?: Record<string, string>
  /** When values end: milliseconds since 1970. */
  expires?: Record<string, number>
}

/** What a request has read: the base of its next write. */
export interface ReadSession {
  readonly id: string
  readonly data: Stored
}

// A URL as Astro's session stores it.
const REDUCERS = { URL: (value: unknown) => value instanceof URL && value.href }
const REVIVERS = { URL: (href: string) => new URL(href) }

type Devalue = Pick<typeof import('devalue'), 'parse' | 'stringify'>

/** Converts between a session's row and Astro's text of it, which is that of devalue. */
export class EntryFormat {
  readonly #devalue: Devalue

  private constructor(devalue: Devalue) {
    this.#devalue = devalue
  }

  /** Loads devalue, which Astro brings along. It has no CommonJS module, so this module cannot import it statically. */
  static async load(): Promise<EntryFormat> {
    return new EntryFormat(await import('devalue'))
  }

  /**
   * Returns the row of a session: JSON by key, which a merge takes apart, and which other programs can read.
   *
   * @throws INVALID_ARGUMENT if the application uses the reserved key
   */
  storedForm(entries: Entries): Stored {
    const stored: Stored = {}
    const texts: Record<string, string> = {}
    const ends: Record<string, number> = {}
    for (const [key, { data, expires }] of entries) {
      if (key === RESERVED) throw reserved()
      if (isJson(data, new Set())) setKey(stored, key, data)
      else setKey(texts, key, this.#devalue.stringify(data, REDUCERS))
      if (typeof expires === 'number') setKey(ends, key, expires)
    }
    const details: Details = {
      ...(Object.keys(texts).length > 0 && { devalue: texts }),
      ...(Object.keys(ends).length > 0 && { expires: ends }),
    }
    return Object.keys(details).length === 0 ? stored : { ...stored, [RESERVED]: details }
  }

  entriesOf(stored: Stored): Entries {
    const { [RESERVED]: details, ...values } = stored
    const { devalue = {}, expires = {} } = (details ?? {}) as Details
    const entry = (key: string, data: unknown): [string, Entry] => [
      key,
      Object.hasOwn(expires, key) ? { data, expires: expires[key] } : { data },
    ]
    return new Map([
      ...Object.entries(values).map(([key, data]) => entry(key, data)),
      ...Object.entries(devalue).map(([key, text]) => entry(key, this.#devalue.parse(text, REVIVERS))),
    ])
  }

  /** Returns what Astro unflattens into the session, with the row that it was read from under the reserved key. */
  flattened(read: ReadSession): unknown {
    const entries: Entries = this.entriesOf(read.data).set(RESERVED, { data: JSON.stringify(read) })
    return JSON.parse(this.#devalue.stringify(entries, REDUCERS))
  }

  /**
   * Returns the session that Astro has flattened, and the row that it was read from, if it was read.
   *
   * @throws INVALID_ARGUMENT if the application has set the reserved key
   */
  unflattened(text: string): { entries: Entries; read: ReadSession | undefined } {
    const entries = this.#devalue.parse(text, REVIVERS) as Entries
    if (!entries.has(RESERVED)) return { entries, read: undefined }
    const read = readSessionIn(entries.get(RESERVED)?.data)
    if (read === undefined) throw reserved()
    entries.delete(RESERVED)
    return { entries, read }
  }
}

/** Returns when the last of the values ends, in milliseconds since 1970; 0 if none has such a date. */
export function lastEnd(stored: Stored): number {
  const { expires = {} } = (stored[RESERVED] ?? {}) as Details
  return Math.max(0, ...Object.values(expires))
}

function readSessionIn(text: unknown): ReadSession | undefined {
  try {
    const { id, data } = JSON.parse(String(text))
    return typeof id === 'string' && typeof data === 'object' && data !== null ? { id, data } : undefined
  } catch {
    return undefined
  }
}

function reserved(): SessionPgsqlError {
  return invalid(`The key ${RESERVED} is reserved for the session's own use. Use another key.`)
}

/** Returns true if JSON represents the value without loss. `seen` has the objects found before. */
function isJson(value: unknown, seen: Set<object>): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0)
  if (typeof value !== 'object') return false
  // devalue keeps two references to one object.
  if (seen.has(value)) return false
  seen.add(value)
  if (Array.isArray(value)) {
    return Object.keys(value).length === value.length && value.every((element) => isJson(element, seen))
  }
  return (
    Object.getPrototypeOf(value) === Object.prototype &&
    Object.values(value).every((property) => isJson(property, seen))
  )
}
