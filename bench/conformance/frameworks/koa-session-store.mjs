/** Replaces koa-session's test/store.ts. */
import { PgsqlStore } from 'session-pgsql/koa'
import { database } from './vitest.mjs'

const store = new PgsqlStore({ db: await database(), gcInterval: 0 })
export default {
  get: store.get.bind(store),
  set: store.set.bind(store),
  destroy: store.destroy.bind(store),
}
