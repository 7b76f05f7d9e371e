/** Where sessions come from: another store's, read while its site still runs. Nothing is ever written there. */
export interface Source {
  /** What it is and where, without a password: the same in every run. */
  readonly name: string
  /** How many sessions there are, expired ones perhaps included; undefined if that cannot be told. For a progress bar. */
  count(): Promise<number | undefined>
  /** All sessions, a part at a time. */
  parts(): AsyncIterable<readonly SourceSession[]>
  /** Which of these are there and have not expired. */
  alive(ids: readonly string[]): Promise<ReadonlySet<string>>
  /** Closes what was opened for it. */
  close(): Promise<void>
}

export interface SourceSession {
  readonly id: string
  /** What the store has written, which should be JSON. */
  readonly text: string
  /** Milliseconds of `performance.now()` at which it expires; undefined: the source does not say. */
  readonly expires: number | undefined
  /** The expiry is a date that was written without its time zone. */
  readonly zoneless?: boolean
}

/** Sessions of one part at most, ... */
export const PART = 500

/** ... and characters, more or less: what one session has may be more. */
export const PART_LENGTH = 4_000_000
