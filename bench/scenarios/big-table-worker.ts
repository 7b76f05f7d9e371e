import { SaveHandler } from 'session-pgsql'
import type { ConnectionConfig } from '../stores/store.ts'

export interface GcInput {
  readonly connection: ConnectionConfig
  readonly table: string
}

/** Runs a garbage collection. @returns the number of removed sessions */
export default async function collect({ connection, table }: GcInput): Promise<number> {
  const handler = new SaveHandler({ db: connection, table, gcInterval: 0, operationTimeout: 60 })
  const removed = await handler.gc()
  await handler.close()
  return removed
}
