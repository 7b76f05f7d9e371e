import { SaveHandler, type SaveHandlerOptions, type SessionRecord } from 'session-pgsql'
import { type SessionData, sessionData } from '../sessions.ts'
import { type BenchStore, NextData, type Operation, type StoreOptions } from './store.ts'

const LIFETIME = { lifetime: 86_400 }

/** The store of this project. `own` has options of the save handler. */
export default async function sessionPgsql(options: StoreOptions): Promise<BenchStore> {
  const own: SaveHandlerOptions<SessionData> = { ...options.own }
  // JSON has no Infinity.
  if (options.own?.refreshAfter === 'Infinity') own.refreshAfter = Number.POSITIVE_INFINITY
  const handler = new SaveHandler<SessionData>({ db: options.connection, gcInterval: 0, ...own })
  await handler.open()
  const data = new NextData(sessionData(0, options.bytes))
  const records = new Map<string, SessionRecord<SessionData>>()

  return {
    async prepare(operation: Operation, ids: readonly string[]): Promise<void> {
      records.clear()
      if (operation !== 'writeBased') return
      for (let n = 0; n < ids.length; n += 500) {
        const read = await Promise.all(ids.slice(n, n + 500).map((id) => handler.read(id)))
        for (const record of read) if (record !== undefined) records.set(record.id, record)
      }
    },
    operations: {
      async read(id) {
        if ((await handler.read(id)) === undefined) throw new Error('A session is missing')
      },
      async write(id) {
        await handler.write(id, data.next(), LIFETIME)
      },
      async writeBased(id) {
        const base = records.get(id)
        if (base === undefined) throw new Error('A session is missing')
        const { outcome, session } = await handler.write(id, data.next(), { base, ...LIFETIME })
        if (outcome !== 'updated' || session === undefined)
          throw new Error(`Expected a write with the outcome updated, received ${outcome}`)
        records.set(id, session)
      },
      async visit(id) {
        const base = await handler.read(id)
        if (base === undefined || !(await handler.touch(id, { base, ...LIFETIME }))) {
          throw new Error('A session is missing')
        }
      },
      async touch(id) {
        if (!(await handler.touch(id, LIFETIME))) throw new Error('A session is missing')
      },
    },
    close: () => handler.close(),
  }
}
