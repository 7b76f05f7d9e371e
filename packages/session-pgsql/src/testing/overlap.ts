import { deepEqual, equal } from 'node:assert/strict'
import type { Case } from './case.ts'

/** Nothing is lost: requests of one session that overlap. */
export const overlapCases: readonly Case[] = [
  {
    id: 'two-keys',
    sentence: 'Two requests that overlap and set different keys: both keys are there.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      const finish = await visit.hold(browser.clone(), '/set?key=left&value=1')
      await browser.clone().post('/set?key=right&value=2')
      equal((await finish()) < 400, true)
      deepEqual(await browser.read(), { user, left: '1', right: '2' })
    },
  },
  {
    id: 'two-processes',
    sentence: 'Two requests that overlap in two processes and set different keys: both keys are there.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      const other = await visit.start()
      const finish = await visit.hold(browser.clone(), '/set?key=left&value=1')
      await browser.clone(other.url).post('/set?key=right&value=2')
      equal((await finish()) < 400, true)
      deepEqual(await browser.read(), { user, left: '1', right: '2' })
    },
  },
  {
    id: 'ten-keys',
    sentence:
      'Ten requests that have all read the session before the first of them saves: all ten keys are there.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      const keys = Array.from({ length: 10 }, (_, index) => `k${index}`)
      const held: (() => Promise<number>)[] = []
      for (const key of keys) held.push(await visit.hold(browser.clone(), `/set?key=${key}&value=1`))
      const statuses = await Promise.all(held.map((finish) => finish()))
      equal(
        statuses.every((status) => status < 400),
        true,
      )
      deepEqual(await browser.read(), { user, ...Object.fromEntries(keys.map((key) => [key, '1'])) })
    },
  },
  {
    id: 'deleted-key',
    sentence: 'A key that one request deletes is not brought back by a slower one that sets another key.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      await browser.post('/set?key=flash&value=once')
      const finish = await visit.hold(browser.clone(), '/set?key=color&value=blue')
      await browser.clone().post('/delete?key=flash')
      equal((await finish()) < 400, true)
      deepEqual(await browser.read(), { user, color: 'blue' })
    },
  },
  {
    id: 'deletion-first',
    sentence: 'A deletion beats a slower change of the same key.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      await browser.post('/set?key=basket&value=apple')
      const finish = await visit.hold(browser.clone(), '/set?key=basket&value=pear')
      await browser.clone().post('/delete?key=basket')
      equal((await finish()) < 400, true)
      deepEqual(await browser.read(), { user })
    },
  },
  {
    id: 'deletion-last',
    sentence: 'A slower deletion beats a change of the same key.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      await browser.post('/set?key=basket&value=apple')
      const finish = await visit.hold(browser.clone(), '/delete?key=basket')
      await browser.clone().post('/set?key=basket&value=pear')
      equal((await finish()) < 400, true)
      deepEqual(await browser.read(), { user })
    },
  },
  {
    id: 'no-change',
    sentence: 'A slow request that changes nothing does not bring back what was there when it began.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      await browser.post('/set?key=basket&value=apple')
      const finish = await visit.hold(browser.clone(), '/set?key=basket&value=apple')
      await browser.clone().post('/set?key=basket&value=pear')
      equal((await finish()) < 400, true)
      deepEqual(await browser.read(), { user, basket: 'pear' })
    },
  },
]
