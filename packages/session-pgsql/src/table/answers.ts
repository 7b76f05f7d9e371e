import type { Row } from '../database/database.ts'
import type { SessionCipher } from '../session/cipher.ts'
import { beganWithout } from '../session/lifetime.ts'
import type { StoredSession } from '../session/stored.ts'

/**
 * The outcome of a request. The statements in statements.ts return rows of `n, outcome, text, micros`, followed by the
 * columns of the record.
 *
 * - `updated`, `created`, `touched`, `destroyed`: done; the row says so, which a trigger could have prevented
 * - `conflict`: another writer changed the data; the row contains the stored session
 * - `gone`: the session does not exist, is another generation of the id, or expired too long ago
 * - `busy`: another transaction has locked the row; nothing was done
 * - `late`: the database's clock was past the deadline; nothing was done
 * - `prevented`: a trigger on the table dropped the change
 * - `hashed`: the table has a mark (id-forms.ts), and nothing was done for any request of the batch
 */
export type Outcome =
  | 'read'
  | 'clock'
  | 'hidden'
  | 'updated'
  | 'created'
  | 'touched'
  | 'destroyed'
  | 'conflict'
  | 'gone'
  | 'busy'
  | 'late'
  | 'prevented'
  | 'hashed'

/** The answer to one request of a batch. */
export interface Answer {
  readonly outcome: Outcome
  /**
   * With `updated` and `created`: the new row, whose text is the one that was sent. With `conflict`: the stored row.
   */
  readonly stored?: StoredSession
  /** With `touched`: the new expiry, in seconds since 1970. */
  readonly expires?: number | null
  /** With `touched`: the database's clock, in seconds since 1970. */
  readonly clock?: number
}

export const GONE: Answer = { outcome: 'gone' }
export const BUSY: Answer = { outcome: 'busy' }
export const PREVENTED: Answer = { outcome: 'prevented' }

export function outcomeOf(row: Row): Outcome {
  return row[1] as Outcome
}

/** Returns the database's clock in a row, in seconds since 1970. */
export function clockOf(row: Row): number {
  return secondsOf(row[3])
}

/** Returns the seconds of a time in microseconds. */
export function secondsOf(microseconds: string | null | undefined): number {
  return Number(microseconds) / 1e6
}

/**
 * Returns an answer for each request of a batch, in the order of the requests.
 *
 * @param texts the data that each request sent: rows of stored data do not repeat it
 * @param otherwise the answer to a request without a row
 */
export function answersOf<Otherwise extends Answer | undefined>(
  rows: readonly Row[],
  texts: readonly string[],
  otherwise: Otherwise,
  cipher: SessionCipher,
): (Answer | Otherwise)[] {
  const readAt = performance.now()
  const answers = new Array<Answer | Otherwise>(texts.length).fill(otherwise)
  for (const row of rows) {
    const place = Number(row[0]) - 1
    const outcome = outcomeOf(row)
    if (outcome === 'touched') {
      answers[place] = { outcome, expires: numberOf(row[2]), clock: clockOf(row) }
    } else if (row[RECORD] === null || row[RECORD] === undefined) {
      answers[place] = { outcome }
    } else {
      const text = outcome === 'conflict' ? undefined : texts[place]
      answers[place] = { outcome, stored: storedOf(row, cipher, clockOf(row), readAt, text) }
    }
  }
  return answers
}

/** Index of the record's first column in a row, and the number of its columns. */
const RECORD = 4
export const RECORD_COLUMNS = 17

/** Returns true if the server is a standby, from the last row of a read. */
export function standbyOf(row: Row | undefined): boolean {
  return isTrue(row?.[RECORD + RECORD_COLUMNS])
}

/** SQL of the columns of a record in a row without one. */
export const NO_RECORD: string = ', NULL'.repeat(RECORD_COLUMNS)

/**
 * Returns the session in a row, decrypted.
 *
 * @param clock the database's clock at the read, in seconds
 * @param readAt this process's clock at the read, in milliseconds of `performance.now()`
 * @param text the data, if the caller sent it and the row does not repeat it
 */
export function storedOf(
  row: Row,
  cipher: SessionCipher,
  clock: number,
  readAt: number,
  text?: string,
): StoredSession {
  const id = row[RECORD] as string
  const created = numberOf(row[RECORD + 3])
  const message = row[RECORD + 12]
  const generation = numberOf(row[RECORD + 14])
  return {
    id,
    name: row[RECORD + 1] as string | null,
    text: text ?? cipher.open(row[2] ?? '', 'sess_data', id),
    digest: row[RECORD + 2] as string | null,
    created,
    modified: numberOf(row[RECORD + 4]),
    expires: numberOf(row[RECORD + 5]),
    addressCreated: row[RECORD + 6] as string | null,
    addressModified: row[RECORD + 7] as string | null,
    accesses: Number(row[RECORD + 8] ?? 0),
    errors: Number(row[RECORD + 9] ?? 0),
    warnings: Number(row[RECORD + 10] ?? 0),
    notices: Number(row[RECORD + 11] ?? 0),
    errorMessage: message == null ? null : cipher.open(message, 'sess_err_message', id),
    custom: row[RECORD + 13] as string | null,
    generation,
    version: Number(row[RECORD + 15] ?? 0),
    began: numberOf(row[RECORD + 16]) ?? beganWithout({ generation, created }),
    clock,
    readAt,
  }
}

/** Returns true for a boolean that is true, in either way PostgreSQL prints it: `t`, or `true` after a cast to text. */
export function isTrue(text: string | null | undefined): boolean {
  return text === 't' || text === 'true'
}

function numberOf(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text)
}
