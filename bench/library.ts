import type * as Library from '../packages/session-pgsql/src/index.ts'

// The built package, as a user gets it. Its types come from the sources, so that a check of types needs no build.
const name = 'session-pgsql'
const library = (await import(name)) as typeof Library

export const SaveHandler: typeof Library.SaveHandler = library.SaveHandler
export type SaveHandler<Data> = Library.SaveHandler<Data>
export type { SaveHandlerOptions, SessionRecord } from '../packages/session-pgsql/src/index.ts'
export const SessionPgsqlError: typeof Library.SessionPgsqlError = library.SessionPgsqlError
