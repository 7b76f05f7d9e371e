import type { Row } from '../database/database.ts'
import type { StoredSession } from '../session/stored.ts'

/**
 * What the statements of statements.ts answer: `n, outcome, text, now`, then the record, a
 * column for each of its fields.
 *
 * - `updated`, `created`, `touched`, `destroyed`: done
 * - `conflict`: somebody else's data is there; it comes along
 * - `gone`: not there, another life of the id, or expired too long ago
 * - `busy`: locked by somebody; `late`: the database's clock was past the deadline. Nothing was done.
 */
export type Outcome =
  | 'read'
  | 'clock'
  | 'updated'
  | 'created'
  | 'touched'
  | 'destroyed'
  | 'conflict'
  | 'gone'
  | 'busy'
  | 'late'

export interface Answer {
  readonly outcome: Outcome
  /** With `updated` and `created` as it lies in the table now (its text is what was sent), with `conflict` as it was found. */
  readonly stored?: StoredSession
  /** With `touched`: the expiry as it is now. */
  readonly expires?: number | null
  /** The database's clock then. */
  readonly clock?: number
}

export const GONE: Answer = { outcome: 'gone' }
export const BUSY: Answer = { outcome: 'busy' }

export function outcomeOf(row: Row): Outcome {
  return row[1] as Outcome
}

export function clockOf(row: Row): number {
  return Number(row[3])
}

/**
 * An answer for each order of a batch.
 *
 * @param texts what each order has sent as data: of what was stored, the row does not repeat it
 * @param otherwise the answer for an order of which no row speaks
 */
export function answersOf<Otherwise extends Answer | undefined>(
  rows: readonly Row[],
  texts: readonly string[],
  otherwise: Otherwise,
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
      answers[place] = { outcome, stored: storedOf(row, clockOf(row), readAt, text) }
    }
  }
  return answers
}

/** Where the record begins in a row, and how many columns it has. */
const RECORD = 4
export const RECORD_COLUMNS = 15

/**
 * @param clock the database's clock
 * @param readAt and this process's
 * @param text what the row does not say because the caller has sent it
 */
export function storedOf(
  row: Row,
  clock: number,
  readAt: number,
  text: string = row[2] ?? '',
): StoredSession {
  return {
    id: row[RECORD] as string,
    name: row[RECORD + 1] as string | null,
    text,
    digest: row[RECORD + 2] as string | null,
    created: numberOf(row[RECORD + 3]),
    modified: numberOf(row[RECORD + 4]),
    expires: numberOf(row[RECORD + 5]),
    addressCreated: row[RECORD + 6] as string | null,
    addressModified: row[RECORD + 7] as string | null,
    accesses: Number(row[RECORD + 8] ?? 0),
    errors: Number(row[RECORD + 9] ?? 0),
    warnings: Number(row[RECORD + 10] ?? 0),
    notices: Number(row[RECORD + 11] ?? 0),
    errorMessage: row[RECORD + 12] as string | null,
    custom: row[RECORD + 13] as string | null,
    generation: numberOf(row[RECORD + 14]),
    clock,
    readAt,
  }
}

function numberOf(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text)
}
