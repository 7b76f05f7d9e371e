import { expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'

/** A pool with what the library reads of it. Like those of pg-native, its clients have no `connection`. */
function poolOfOtherClients() {
  let lent = 0
  const client = {
    on() {},
    removeListener() {},
    release: () => lent--,
    query: () => {
      throw new TypeError('query.once is not a function')
    },
  }
  const pool = {
    ...{ totalCount: 1, idleCount: 1, waitingCount: 0, options: { max: 1 } },
    connect: async () => {
      lent++
      return client
    },
    query() {},
    async end() {},
    on() {},
    removeListener() {},
  }
  return { pool: pool as unknown as SaveHandlerOptions['db'], lent: () => lent }
}

test('a pool with clients other than those of node-postgres is rejected, and its clients are released', async () => {
  const { pool, lent } = poolOfOtherClients()
  const sessions = new SaveHandler({ db: pool, gcInterval: 0 })
  await expect(sessions.read('x')).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('Pass a `pg.Pool`'),
  })
  expect(lent()).toBe(0)
  await sessions.close()
})
