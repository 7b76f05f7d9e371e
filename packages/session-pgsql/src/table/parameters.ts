import type { Column } from '../database/database.ts'
import type { Change, Marks, StoredSession, Touch } from '../session/stored.ts'

/** The arrays that statements.ts unnests, in its order. */

/** $1 to $8 of `save` and `put`. */
export function changeColumns(changes: readonly Change[], untils: readonly number[]): Column[] {
  return [
    { type: 'text', values: changes.map(({ id }) => id) },
    { type: 'text', values: changes.map(({ text }) => text) },
    { type: 'float8', values: changes.map(({ lifetime }) => lifetime) },
    { type: 'boolean', values: changes.map(({ access }) => access) },
    { type: 'text', values: changes.map(({ address }) => address) },
    { type: 'text', values: changes.map(({ name }) => name) },
    { type: 'text', values: changes.map(({ marks }) => marksText(marks)) },
    { type: 'float8', values: untils },
  ]
}

/** $1 to $5 of `touch`. */
export function touchColumns(touches: readonly Touch[], untils: readonly number[]): Column[] {
  return [
    { type: 'text', values: touches.map(({ id }) => id) },
    { type: 'float8', values: touches.map(({ lifetime }) => lifetime) },
    { type: 'boolean', values: touches.map(({ access }) => access) },
    { type: 'text', values: touches.map(({ marks }) => marksText(marks)) },
    { type: 'float8', values: untils },
  ]
}

/** The last five of `save` and `touch`: what the caller takes the session to be. */
export function baseColumns(orders: readonly { readonly base: StoredSession | undefined }[]): Column[] {
  return [
    { type: 'boolean', values: orders.map(({ base }) => base !== undefined) },
    { type: 'text', values: orders.map(({ base }) => base?.digest ?? null) },
    { type: 'bigint', values: orders.map(({ base }) => base?.created ?? null) },
    { type: 'bigint', values: orders.map(({ base }) => base?.accesses ?? null) },
    { type: 'bigint', values: orders.map(({ base }) => base?.generation ?? null) },
  ]
}

/** NULL in nearly every row; otherwise JSON, which keeps seven columns out of every batch. */
function marksText(marks: Marks | undefined): string | null {
  return marks === undefined ? null : JSON.stringify(marks)
}
