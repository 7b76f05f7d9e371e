import { expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'

/** As far as it is looked at: the clients of pg-native have no `connection`. */
function poolOfOthers() {
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

test('a pool whose clients are not those of node-postgres is refused, and they are given back', async () => {
  const { pool, lent } = poolOfOthers()
  const sessions = new SaveHandler({ db: pool, gcInterval: 0 })
  await expect(sessions.read('x')).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('Give a `pg.Pool`'),
  })
  expect(lent()).toBe(0)
  await sessions.close()
})
