import type { EndedSession } from '../../src/index.ts'
import type { Handler } from '../handler/kit.ts'

/** What a handler has emitted. */
export interface Listening {
  readonly handler: Handler
  readonly ended: EndedSession[]
  /** The servers. */
  readonly missed: string[]
  readonly errors: Error[]
  of(id: string): EndedSession[]
}

/** Resolves when the handler listens, or cannot. */
export async function listening(handler: Handler): Promise<Listening> {
  const ended: EndedSession[] = []
  const missed: string[] = []
  const errors: Error[] = []
  handler.on('ended', ({ id, custom, reason }) => ended.push({ id, custom, reason }))
  handler.on('missed', ({ server }) => missed.push(server))
  handler.on('error', (error) => errors.push(error))
  await handler.open()
  return { handler, ended, missed, errors, of: (id) => ended.filter((one) => one.id === id) }
}

/** SQL that finds the connections to this database that listen. */
export const TO_LISTENERS = `
  SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND query LIKE 'LISTEN session_pgsql_ended_%'`
