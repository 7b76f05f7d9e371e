import type { Column, Parameter } from '../database/database.ts'
import type { SessionCipher } from '../session/cipher.ts'
import type { Columns } from '../session/columns.ts'
import type { Destroy } from '../session/ended.ts'
import type { Change, MetadataUpdate, StoredSession, Touch } from '../session/stored.ts'
import { inputName } from './computed-columns.ts'

/**
 * One request, or a batch of several. A statement for one takes scalars: PostgreSQL spends a quarter less of its time on
 * a write, and a third less on a touch.
 */
export type BatchSize = 'one' | 'several'

export function batchSize(requests: readonly unknown[]): BatchSize {
  return requests.length === 1 ? 'one' : 'several'
}

/**
 * A batch of requests as the input of a statement: SQL for the FROM clause, with a row for each request and its number
 * `n` from 1, and the parameters of that SQL.
 *
 * In a batch of several, ids and data are arrays that are unnested. The other values are usually the same for all
 * requests, and are then sent once. Otherwise they are sent as an array, indexed by the row's number. Unnesting an array
 * costs PostgreSQL half a microsecond for each element, and there would be a dozen arrays. Measured: a fifth of the time
 * of a write.
 */
export interface RequestRows<Request> {
  /** Returns SQL for the FROM clause. */
  source(size: BatchSize): string
  id(request: Request): string
  /** Returns the request for another id. */
  under(request: Request, id: string): Request
  /**
   * @param untils the requests' deadlines by the database's clock, in seconds since 1970
   * @param cipher encrypts the data and error messages
   */
  parameters(requests: readonly Request[], untils: readonly number[], cipher: SessionCipher): Parameter[]
}

/** Writes a session that must exist. */
export interface Save {
  readonly change: Change
  /** The session to compare and swap with; undefined: overwrites any data. */
  readonly base: StoredSession | undefined
}

/** Writes a session that may be absent, or must be. */
export interface Put {
  readonly change: Change
  readonly mustBeAbsent: boolean
}

type Type = 'float8' | 'boolean' | 'text' | 'bigint'
type Value = string | number | boolean | null

const SQL_TYPES: Record<Type, string> = {
  float8: 'double precision',
  boolean: 'boolean',
  text: 'pg_catalog.text',
  bigint: 'bigint',
}

interface Field<Request> {
  readonly name: string
  readonly type: Type
  of(request: Request, cipher: SessionCipher): Value
}

interface Shape<Request> extends Pick<RequestRows<Request>, 'id' | 'under'> {
  /** Undefined if these requests have no data. */
  data?(request: Request): string
  readonly fields: readonly Field<Request>[]
}

function requestRowsOf<Request>({ id, under, data, fields }: Shape<Request>): RequestRows<Request> {
  const texts = data === undefined ? ['id'] : ['id', 'data']
  const columns = [{ name: 'until', type: 'float8' } as const, ...fields]
  const sealed = (request: Request, cipher: SessionCipher): string[] =>
    data === undefined ? [] : [cipher.seal(data(request), 'sess_data', id(request))]
  return {
    ...{ id, under },
    source: (size) => (size === 'one' ? oneRow(texts, columns) : severalRows(texts, columns)),
    parameters(requests, untils, cipher) {
      const [first] = requests
      if (batchSize(requests) === 'one' && first !== undefined) {
        const values = fields.map(({ of }) => of(first, cipher))
        return [id(first), ...sealed(first, cipher), untils[0] as number, ...values]
      }
      const parameters: Parameter[] = [{ type: 'text', values: requests.map(id) }]
      if (data !== undefined) {
        parameters.push({ type: 'text', values: requests.flatMap((request) => sealed(request, cipher)) })
      }
      parameters.push(...scalarOrArray('float8', untils))
      for (const { type, of } of fields) {
        const values = requests.map((request) => of(request, cipher))
        parameters.push(...scalarOrArray(type, values))
      }
      return parameters
    },
  }
}

type InputColumn = Pick<Field<never>, 'name' | 'type'>

function oneRow(texts: readonly string[], columns: readonly InputColumn[]): string {
  const all = [...texts.map((name) => ({ name, type: 'text' }) as const), ...columns]
  const values = all.map(({ name, type }, index) => `$${index + 1}::${SQL_TYPES[type]} AS ${name}`)
  return `(SELECT 1::bigint AS n, ${values.join(', ')})`
}

function severalRows(texts: readonly string[], columns: readonly InputColumn[]): string {
  const arrays = texts.map((_, index) => `pg_catalog.unnest($${index + 1}::pg_catalog.text[])`)
  let count = texts.length
  const values = columns.map(
    ({ name, type }) =>
      `coalesce($${++count}::${SQL_TYPES[type]}, ($${++count}::${SQL_TYPES[type]}[])[i.n]) AS ${name}`,
  )
  return `(SELECT i.n, ${[...texts.map((name) => `i.${name}`), ...values].join(', ')}
        FROM ROWS FROM (${arrays.join(', ')}) WITH ORDINALITY AS i(${texts.join(', ')}, n))`
}

/** Returns one value for all requests, or an array with a value for each. */
function scalarOrArray(type: Type, values: readonly Value[]): [Value, Column | null] {
  const [first = null] = values
  for (const value of values) if (value !== first) return [null, { type, values } as Column]
  return [first, null]
}

const changeFields: readonly Field<Change>[] = [
  { name: 'lifetime', type: 'float8', of: ({ lifetime }) => lifetime },
  { name: 'access', type: 'boolean', of: ({ access }) => access },
  { name: 'address', type: 'text', of: ({ address }) => address },
  { name: 'name', type: 'text', of: ({ name }) => name },
  { name: 'metadata', type: 'text', of: metadataText },
]

/** The session as the caller read it. */
const baseFields: readonly Field<{ readonly base: StoredSession | undefined }>[] = [
  { name: 'based', type: 'boolean', of: ({ base }) => base !== undefined },
  { name: 'digest', type: 'text', of: ({ base }) => base?.digest ?? null },
  { name: 'version', type: 'bigint', of: ({ base }) => base?.version ?? null },
  { name: 'created', type: 'bigint', of: ({ base }) => base?.created ?? null },
  { name: 'accesses', type: 'bigint', of: ({ base }) => base?.accesses ?? null },
  { name: 'generation', type: 'bigint', of: ({ base }) => base?.generation ?? null },
]

const ofChange: readonly Field<{ readonly change: Change }>[] = changeFields.map(({ name, type, of }) => ({
  name,
  type,
  of: ({ change }, cipher) => of(change, cipher),
}))

/** The requests that write data. */
export interface WriteRows {
  readonly saves: RequestRows<Save>
  readonly puts: RequestRows<Put>
}

/** Returns the rows of requests that write data, with the values of the computed columns. */
export function writeRows({ computed }: Columns): WriteRows {
  const fields = [...ofChange, ...computed.map((_, index) => columnField(index))]
  return {
    saves: requestRowsOf<Save>({
      ...ofChangedSession,
      fields: [...fields, ...baseFields],
    }),
    puts: requestRowsOf<Put>({
      ...ofChangedSession,
      fields: [...fields, { name: 'absent', type: 'boolean', of: ({ mustBeAbsent }) => mustBeAbsent }],
    }),
  }
}

const ofChangedSession = {
  id: ({ change }: { readonly change: Change }): string => change.id,
  under: <R extends { readonly change: Change }>(request: R, id: string): R => ({
    ...request,
    change: { ...request.change, id },
  }),
  data: ({ change }: { readonly change: Change }): string => change.text,
}

function columnField(index: number): Field<{ readonly change: Change }> {
  return { name: inputName(index), type: 'text', of: ({ change }) => change.columns?.[index] ?? null }
}

export const TOUCHES: RequestRows<Touch> = requestRowsOf<Touch>({
  id: ({ id }) => id,
  under: (request, id) => ({ ...request, id }),
  fields: [
    { name: 'lifetime', type: 'float8', of: ({ lifetime }) => lifetime },
    { name: 'access', type: 'boolean', of: ({ access }) => access },
    { name: 'metadata', type: 'text', of: metadataText },
    ...baseFields,
  ],
})

const ofDestroy = {
  id: ({ id }: Destroy): string => id,
  under: (request: Destroy, id: string): Destroy => ({ ...request, id }),
}

export const DESTROYS: RequestRows<Destroy> = requestRowsOf<Destroy>({ ...ofDestroy, fields: [] })

/** With what to announce; see announcements.ts. */
export const ANNOUNCED_DESTROYS: RequestRows<Destroy> = requestRowsOf<Destroy>({
  ...ofDestroy,
  fields: [{ name: 'reason', type: 'text', of: ({ reason }) => reason }],
})

interface MetadataRequest {
  readonly id: string
  readonly metadata: MetadataUpdate | undefined
  readonly since?: StoredSession | undefined
}

/**
 * As JSON, because nearly every request has no metadata: eight columns would be NULL. `since`: the session that a new one
 * continues.
 */
function metadataText({ id, metadata, since }: MetadataRequest, cipher: SessionCipher): string | null {
  if (metadata === undefined && since === undefined) return null
  return JSON.stringify({
    ...metadata,
    ...(metadata?.message !== undefined && {
      message: cipher.seal(metadata.message, 'sess_err_message', id),
    }),
    ...(since !== undefined && { began: since.began }),
  })
}
