import pg from 'pg'
import { SaveHandler, type SessionRecord } from 'session-pgsql'
import { type SessionData, sessionData } from '../sessions.ts'
import type { BenchStore, Operation, StoreOptions } from './store.ts'

interface RecordedQuery {
  readonly text: string
  readonly name: string
  readonly values: unknown[]
}

/**
 * Sends the statements of session-pgsql directly with node-postgres, which is the best case for a single caller.
 *
 * The statements are recorded: a save handler performs each operation once on a pool that records its queries. Then
 * the same queries are repeated as prepared statements on one connection. A repeated write still writes, and its
 * compare-and-swap succeeds, because the data is the same and the version is counted up as the server does.
 */
export default async function nodePostgres(options: StoreOptions): Promise<BenchStore> {
  const recorded = new Map<string, RecordedQuery>()
  /** Index of the version that a write expects, among its parameters. */
  let versionAt = -1
  const data = sessionData(0, options.bytes)
  const client = new pg.Client(options.connection)
  await client.connect()

  function countUp(values: unknown[]): void {
    values[versionAt] = Number(values[versionAt]) + 1
  }

  async function send(id: string): Promise<unknown[][]> {
    const sent = recorded.get(id) as RecordedQuery
    const { rows } = await client.query({ ...sent, rowMode: 'array', types: AS_TEXT } as pg.QueryArrayConfig)
    return rows as unknown[][]
  }

  return {
    async prepare(operation: Operation, ids: readonly string[]): Promise<void> {
      recorded.clear()
      let last: RecordedQuery | undefined
      const pool = new pg.Pool({ ...options.connection, max: 1 })
      pool.on('connect', (connection) => {
        const query = connection.query.bind(connection) as (
          sent: RecordedQuery,
          ...rest: unknown[]
        ) => unknown
        Object.assign(connection, {
          query: (sent: RecordedQuery, ...rest: unknown[]) => {
            last = sent
            return query(sent, ...rest)
          },
        })
      })
      // A write contains its deadline, which must not pass while the write is repeated.
      // A table of its own: another store's write would change the versions.
      const handler = new SaveHandler<SessionData>({
        db: pool,
        table: 'node_postgres_alone',
        gcInterval: 0,
        operationTimeout: 86_400,
      })
      for (const [index, id] of ids.entries()) {
        const stored = sessionData(index, options.bytes)
        await handler.write(id, stored, { lifetime: 86_400 })
        const base = await handler.read(id)
        if (operation !== 'read') {
          const write = async (base: SessionRecord<SessionData> | undefined) =>
            (await handler.write(id, base?.data as SessionData, { base, lifetime: 86_400 })).session
          const written = await write(base)
          const before = (last as unknown as RecordedQuery).values
          await write(written)
          const { values } = last as unknown as RecordedQuery
          // An equal digest may be as large a number that adding 1 leaves it as it is.
          versionAt = values.findIndex(
            (value, index) => value !== before[index] && String(value) === String(Number(before[index]) + 1),
          )
          // It has just been sent.
          countUp(values)
        }
        const { text, name, values } = last as unknown as RecordedQuery
        if (name === undefined) throw new Error('Expected a prepared statement')
        recorded.set(id, { text, name, values })
      }
      await handler.close()
      await pool.end()
    },
    operations: {
      async read(id) {
        for (const [, kind, text] of await send(id)) if (kind === 'read') return JSON.parse(text as string)
        throw new Error('A session is missing')
      },
      async writeBased(id) {
        data.views++
        JSON.stringify(data)
        const [row] = await send(id)
        if (row?.[1] !== 'updated')
          throw new Error(`Expected a write with the outcome updated, received ${row?.[1]}`)
        countUp((recorded.get(id) as RecordedQuery).values)
      },
    },
    close: () => client.end(),
  }
}

const AS_TEXT = { getTypeParser: () => (text: string) => text } as never
