import pg from 'pg'
import { SaveHandler } from 'session-pgsql'
import { type SessionData, sessionData } from '../sessions.ts'
import type { Contestant, ContestantOptions, Operation } from './contestant.ts'

interface Sent {
  readonly text: string
  readonly name: string
  readonly values: unknown[]
}

/**
 * The statements of this store, sent straight through node-postgres: what one caller alone could have at best.
 *
 * They are overheard, not made: a save handler does each operation once on a pool that takes down what it sends;
 * then the same is sent again and again, prepared, on one connection. A write that is repeated word by word writes
 * all the same, and its compare-and-swap holds, because the data is the same.
 */
export default async function straight(options: ContestantOptions): Promise<Contestant> {
  const heard = new Map<string, Sent>()
  const data = sessionData(0, options.bytes)
  const client = new pg.Client(options.where)
  await client.connect()

  async function send(id: string): Promise<unknown[][]> {
    const sent = heard.get(id) as Sent
    const { rows } = await client.query({ ...sent, rowMode: 'array', types: AS_TEXT } as pg.QueryArrayConfig)
    return rows as unknown[][]
  }

  return {
    async prepare(operation: Operation, ids: readonly string[]): Promise<void> {
      heard.clear()
      let last: Sent | undefined
      const pool = new pg.Pool({ ...options.where, max: 1 })
      pool.on('connect', (connection) => {
        const query = connection.query.bind(connection) as (sent: Sent, ...rest: unknown[]) => unknown
        Object.assign(connection, {
          query: (sent: Sent, ...rest: unknown[]) => {
            last = sent
            return query(sent, ...rest)
          },
        })
      })
      // The deadline travels with a write; it must not pass while the write is being repeated.
      const handler = new SaveHandler<SessionData>({ db: pool, gcInterval: 0, operationTimeout: 86_400 })
      for (const id of ids) {
        const base = await handler.read(id)
        if (base === undefined) throw new Error('A session is missing')
        if (operation !== 'read') await handler.write(id, base.data, { base, lifetime: 86_400 })
        const { text, name, values } = last as unknown as Sent
        if (name === undefined) throw new Error('Expected the store to prepare its statements')
        heard.set(id, { text, name, values })
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
        if (row?.[1] !== 'updated') throw new Error(`A write came out as ${row?.[1]}`)
      },
    },
    close: () => client.end(),
  }
}

const AS_TEXT = { getTypeParser: () => (text: string) => text } as never
