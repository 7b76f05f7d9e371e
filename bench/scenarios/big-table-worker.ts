import { SaveHandler } from 'session-pgsql'
import type { Where } from '../contestants/contestant.ts'

export interface GcInput {
  readonly where: Where
  readonly table: string
}

/** @returns how many sessions were removed */
export default async function collect({ where, table }: GcInput): Promise<number> {
  const handler = new SaveHandler({ db: where, table, gcInterval: 0, operationTimeout: 60 })
  const removed = await handler.gc()
  await handler.close()
  return removed
}
