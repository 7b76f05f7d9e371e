/** Replaces unstorage's memory driver. */
import pgsqlDriver from 'session-pgsql/unstorage'
import { database } from './vitest.mjs'

const db = await database()
export default () => pgsqlDriver({ db, gcInterval: 0, base: 'conformance' })
