import { SaveHandler, type SaveHandlerOptions, type SessionRecord } from 'session-pgsql'
import { type SessionData, sessionData } from '../sessions.ts'
import { type Contestant, type ContestantOptions, NextData, type Operation } from './contestant.ts'

const LIFETIME = { lifetime: 86_400 }

/** This store. `own` are options of the save handler. */
export default async function sessionPgsql(options: ContestantOptions): Promise<Contestant> {
  const own: SaveHandlerOptions<SessionData> = { ...options.own }
  // Infinity does not travel as JSON.
  if (options.own?.refreshAfter === 'Infinity') own.refreshAfter = Number.POSITIVE_INFINITY
  const handler = new SaveHandler<SessionData>({ db: options.where, gcInterval: 0, ...own })
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
        if (outcome !== 'updated' || session === undefined) throw new Error(`A write came out as ${outcome}`)
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
