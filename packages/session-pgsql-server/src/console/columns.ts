import type { SaveHandler } from 'session-pgsql'

/** Own columns of the session table: the library's option `columns`, from SESSION_PGSQL_COLUMNS or the php.ini. */

/** In `by`, what precedes the name of an own column. */
export const COLUMN = 'column.'

/** Returns the names of the own columns that can be searched by a text. jsonb cannot. */
// biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
export function searchableColumns(sessions: SaveHandler<any>): string[] {
  const columns = (sessions.status().settings.columns ?? []) as readonly string[]
  return columns.flatMap((column) => {
    const [name = '', type] = column.split(' ')
    return type === 'jsonb' ? [] : [name]
  })
}

/** Returns the value of an own column as text; null if it is NULL. */
export function columnText(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
