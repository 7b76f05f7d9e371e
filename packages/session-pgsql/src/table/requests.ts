import type { Column, Parameter } from '../database/database.ts'
import type { Change, MetadataUpdate, StoredSession, Touch } from '../session/stored.ts'

/**
 * How a batch of orders reaches its statement: as SQL for the FROM clause, a row for each order with its number
 * `n` from 1, and as the parameters that go with it.
 *
 * Ids and data are arrays that are unnested. Everything else is the same for all orders of a batch, as a rule, and
 * then travels once; where it is not, as an array that the row's number looks up. An array that is unnested costs
 * PostgreSQL half a microsecond for each of its elements, and there would be a dozen of them: measured, a fifth of
 * the time of a write.
 */
export interface RequestRows<Request> {
  readonly source: string
  /** @param untils the orders' deadlines by the database's clock, in seconds since 1970 */
  parameters(orders: readonly Request[], untils: readonly number[]): Parameter[]
}

/** A write to a session that must be there: with a base as compare-and-swap, or whatever its data. */
export interface Save {
  readonly change: Change
  /** undefined: whatever its data. */
  readonly base: StoredSession | undefined
}

/** A write of a session that may be absent, or must be. */
export interface Put {
  readonly change: Change
  readonly mustBeAbsent: boolean
}

type Type = 'float8' | 'boolean' | 'text' | 'bigint'
type Value = string | number | boolean | null

interface Field<Request> {
  readonly name: string
  readonly type: Type
  of(order: Request): Value
}

interface Shape<Request> {
  id(order: Request): string
  /** Left out: these orders have no data. */
  data?(order: Request): string
  readonly fields: readonly Field<Request>[]
}

function requestRowsOf<Request>({ id, data, fields }: Shape<Request>): RequestRows<Request> {
  let count = data === undefined ? 1 : 2
  const arrays = data === undefined ? '$1::text[]' : '$1::text[], $2::text[]'
  const column = (name: string, type: Type): string =>
    `coalesce($${++count}::${type}, ($${++count}::${type}[])[i.n]) AS ${name}`
  const columns = [column('until', 'float8'), ...fields.map(({ name, type }) => column(name, type))]
  return {
    source: `(SELECT i.n, i.id, ${data === undefined ? '' : 'i.data, '}${columns.join(', ')}
        FROM unnest(${arrays}) WITH ORDINALITY AS i(id${data === undefined ? '' : ', data'}, n))`,
    parameters(orders, untils) {
      const parameters: Parameter[] = [{ type: 'text', values: orders.map(id) }]
      if (data !== undefined) parameters.push({ type: 'text', values: orders.map(data) })
      parameters.push(...spread('float8', untils))
      for (const { type, of } of fields) parameters.push(...spread(type, orders.map(of)))
      return parameters
    },
  }
}

/** One value for all, or an array of them. */
function spread(type: Type, values: readonly Value[]): [Value, Column | null] {
  const [first = null] = values
  for (const value of values) if (value !== first) return [null, { type, values } as Column]
  return [first, null]
}

const changeFields: readonly Field<Change>[] = [
  { name: 'lifetime', type: 'float8', of: ({ lifetime }) => lifetime },
  { name: 'access', type: 'boolean', of: ({ access }) => access },
  { name: 'address', type: 'text', of: ({ address }) => address },
  { name: 'name', type: 'text', of: ({ name }) => name },
  { name: 'metadata', type: 'text', of: ({ metadata }) => metadataText(metadata) },
]

/** What the caller takes the session to be. */
const baseFields: readonly Field<{ readonly base: StoredSession | undefined }>[] = [
  { name: 'based', type: 'boolean', of: ({ base }) => base !== undefined },
  { name: 'digest', type: 'text', of: ({ base }) => base?.digest ?? null },
  { name: 'created', type: 'bigint', of: ({ base }) => base?.created ?? null },
  { name: 'accesses', type: 'bigint', of: ({ base }) => base?.accesses ?? null },
  { name: 'generation', type: 'bigint', of: ({ base }) => base?.generation ?? null },
]

const ofChange: readonly Field<{ readonly change: Change }>[] = changeFields.map(({ name, type, of }) => ({
  name,
  type,
  of: ({ change }) => of(change),
}))

export const SAVES: RequestRows<Save> = requestRowsOf<Save>({
  id: ({ change }) => change.id,
  data: ({ change }) => change.text,
  fields: [...ofChange, ...baseFields],
})

export const PUTS: RequestRows<Put> = requestRowsOf<Put>({
  id: ({ change }) => change.id,
  data: ({ change }) => change.text,
  fields: [...ofChange, { name: 'absent', type: 'boolean', of: ({ mustBeAbsent }) => mustBeAbsent }],
})

export const TOUCHES: RequestRows<Touch> = requestRowsOf<Touch>({
  id: ({ id }) => id,
  fields: [
    { name: 'lifetime', type: 'float8', of: ({ lifetime }) => lifetime },
    { name: 'access', type: 'boolean', of: ({ access }) => access },
    { name: 'metadata', type: 'text', of: ({ metadata }) => metadataText(metadata) },
    ...baseFields,
  ],
})

export const DESTROYS: RequestRows<string> = requestRowsOf<string>({ id: (id) => id, fields: [] })

/** NULL in nearly every row; otherwise JSON, which keeps seven columns out of every batch. */
function metadataText(metadata: MetadataUpdate | undefined): string | null {
  return metadata === undefined ? null : JSON.stringify(metadata)
}
