/** A storage of ours, and a Map that shows what lies in it, for tests that look there. */
import { randomUUID } from 'node:crypto'
import { pgsqlSecondaryStorage } from 'session-pgsql/better-auth'
import { database } from './vitest.mjs'

const storage = pgsqlSecondaryStorage({ db: await database(), gcInterval: 0 })

/**
 * @param {Map<string, unknown>} map
 * @param {(text: string) => unknown} parse what the test's storage makes of a text
 */
export function overMap(map, parse) {
  let prefix = `${randomUUID()}:`
  // A test that empties its Map empties its storage.
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
