import type { ColumnTexts } from '../session/stored.ts'
import { namesFilled } from '../table/computed-columns.ts'
import type { RowCopy } from '../table/row-copies.ts'
import { settledOwn } from './settle.ts'

/** How this process computes the columns of the option `columns`. */
export interface ColumnFunctions {
  /** The names of the columns that it computes. */
  readonly names: readonly string[]
  /** Returns their values for encoded data; undefined if there are none, or if they cannot be computed. */
  of(text: string): ColumnTexts | undefined
}

/** For a process that computes no columns. */
export const NO_FUNCTIONS: ColumnFunctions = { names: [], of: () => undefined }

/**
 * Returns true if this process may merge the two rows: it computes every column that either of them has. A row that it
 * merged otherwise would have columns of other data, until a process with the functions fills it.
 */
export function mayMerge(row: RowCopy, current: RowCopy | undefined, { names }: ColumnFunctions): boolean {
  const filled = [...namesFilled(row.filled ?? null), ...namesFilled(current?.filled ?? null)]
  return filled.every((name) => names.includes(name))
}

/**
 * Returns the columns of a settled row. Computed columns follow the data: they come from the row whose data is stored,
 * and are computed for merged data and for rows of a process without the functions.
 */
export function settledColumns(
  next: RowCopy,
  row: RowCopy,
  current: RowCopy | undefined,
  functions: ColumnFunctions,
): Pick<RowCopy, 'own' | 'filled' | 'computed'> {
  const own = settledOwn(next, row, current)
  // A tombstone has no data.
  if (next.destroyed !== null) return { own, filled: null, computed: undefined }
  const { text } = next.session
  const source = [row, current].find((one) => one?.session.text === text && one.filled != null)
  if (source === undefined) return { own, filled: null, computed: functions.of(text) }
  const { filled = null, own: values = {} } = source
  const computed = namesFilled(filled).map((name) => [name, values[name] ?? null])
  return { own: { ...own, ...Object.fromEntries(computed) }, filled, computed: undefined }
}
