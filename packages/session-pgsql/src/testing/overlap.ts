import { deepEqual, equal } from 'node:assert/strict'
import type { Browser } from './browser.ts'
import type { Case } from './case.ts'
import type { CaseRun } from './case-run.ts'

/** Overlapping requests of one session lose no change. */
export const overlapCases: readonly Case[] = [
  {
    id: 'two-keys',
    sentence: 'Two overlapping requests that set different keys keep both keys.',
    async check(run) {
      const { browser, user } = await run.signIn()
      const data = await overlap(run, browser, '/set?key=left&value=1', '/set?key=right&value=2')
      deepEqual(data, { user, left: '1', right: '2' })
    },
  },
  {
    id: 'two-processes',
    sentence: 'Two overlapping requests in two processes that set different keys keep both keys.',
    async check(run) {
      const { browser, user } = await run.signIn()
      const { url } = await run.start()
      const data = await overlap(run, browser, '/set?key=left&value=1', '/set?key=right&value=2', url)
      deepEqual(data, { user, left: '1', right: '2' })
    },
  },
  {
    id: 'ten-keys',
    sentence: 'Ten requests that all read the session before the first one saves keep all ten keys.',
    async check(run) {
      const { browser, user } = await run.signIn()
      const keys = Array.from({ length: 10 }, (_, index) => `k${index}`)
      const finishing: Awaited<ReturnType<CaseRun['hold']>>[] = []
      for (const key of keys) finishing.push(await run.hold(browser.clone(), `/set?key=${key}&value=1`))
      const answers = await Promise.all(finishing.map((finish) => finish()))
      equal(
        answers.every(({ status }) => status < 400),
        true,
      )
      deepEqual(await browser.read(), { user, ...Object.fromEntries(keys.map((key) => [key, '1'])) })
    },
  },
  {
    id: 'deleted-key',
    sentence: 'A key that one request deletes stays deleted when a slower request sets another key.',
    async check(run) {
      const { browser, user } = await run.signIn()
      await browser.post('/set?key=flash&value=once')
      deepEqual(await overlap(run, browser, '/set?key=color&value=blue', '/delete?key=flash'), {
        user,
        color: 'blue',
      })
    },
  },
  {
    id: 'deletion-first',
    sentence: 'A deletion beats a slower change of the same key.',
    async check(run) {
      const { browser, user } = await run.signIn()
      await browser.post('/set?key=basket&value=apple')
      deepEqual(await overlap(run, browser, '/set?key=basket&value=pear', '/delete?key=basket'), { user })
    },
  },
  {
    id: 'deletion-last',
    sentence: 'A slower deletion beats a change of the same key.',
    async check(run) {
      const { browser, user } = await run.signIn()
      await browser.post('/set?key=basket&value=apple')
      deepEqual(await overlap(run, browser, '/delete?key=basket', '/set?key=basket&value=pear'), { user })
    },
  },
  {
    id: 'no-change',
    sentence: 'A slow request that changes nothing does not restore the values it has read.',
    async check(run) {
      const { browser, user } = await run.signIn()
      await browser.post('/set?key=basket&value=apple')
      deepEqual(await overlap(run, browser, '/set?key=basket&value=apple', '/set?key=basket&value=pear'), {
        user,
        basket: 'pear',
      })
    },
  },
]

/**
 * Sends `fast` while `slow` is held between reading and changing the session, and then lets `slow` finish. Returns
 * the data of the session after both.
 *
 * @param url the site that `fast` goes to. Default: the browser's
 */
export async function overlap(
  run: CaseRun,
  browser: Browser,
  slow: string,
  fast: string,
  url?: string,
): Promise<Record<string, unknown>> {
  const finish = await run.hold(browser.clone(), slow)
  await browser.clone(url).post(fast)
  equal((await finish()).status < 400, true)
  return browser.read()
}
