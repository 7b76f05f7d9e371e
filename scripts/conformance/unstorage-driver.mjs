/** In the place of unstorage's memory driver, where its test takes it from. */
import pgsqlDriver from 'session-pgsql/unstorage'
import { database } from './vitest.mjs'

const db = await database()
export default () => pgsqlDriver({ db, gcInterval: 0, base: 'conformance' })
