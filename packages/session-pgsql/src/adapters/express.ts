/** Sessions of Express, by express-session: `session({ store: new PgsqlStore({ db }) })`. */

export {
  type CurrentSession,
  pgsqlSession,
  type RequestWithSession,
  recordErrors,
} from './express/current-session.ts'
export {
  PgsqlStore,
  type PgsqlStoreOptions,
  type SharedHandlerOptions,
  type StoredData,
} from './express/store.ts'
export type { ShownData, StoredCookie } from './shared/stored-cookie.ts'
export type { SessionUpdate } from './shared/update-row.ts'
