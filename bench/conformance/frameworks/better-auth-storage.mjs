/** A secondary storage on PostgreSQL, mirrored into a Map, which the tests inspect. */
import { randomUUID } from 'node:crypto'
import { pgsqlSecondaryStorage } from 'session-pgsql/better-auth'
import { database } from './vitest.mjs'

const storage = pgsqlSecondaryStorage({ db: await database(), gcInterval: 0 })

/**
 * @param {Map<string, unknown>} map
 * @param {(text: string) => unknown} parse converts a stored text as the test's storage does
 */
export function mirroredStorage(map, parse) {
  let prefix = `${randomUUID()}:`
  // Tests clear the Map to clear the storage.
  map.clear = () => {
    prefix = `${randomUUID()}:`
    Map.prototype.clear.call(map)
  }
  const given = (text) => (text === null ? null : parse(text))
  return {
    async get(key) {
      return given(await storage.get(prefix + key))
    },
    async set(key, value, ttl) {
      await storage.set(prefix + key, value, ttl)
      map.set(key, parse(value))
    },
    async delete(key) {
      await storage.delete(prefix + key)
      map.delete(key)
    },
    async getAndDelete(key) {
      map.delete(key)
      return given(await storage.getAndDelete(prefix + key))
    },
    async increment(key, ttl) {
      const count = await storage.increment(prefix + key, ttl)
      map.set(key, parse(String(count)))
      return count
    },
  }
}
