import { deepEqual, equal, ok } from 'node:assert/strict'
import { Browser } from './browser.ts'
import { type Case, NotOffered } from './case.ts'
import { type CaseRun, eventually, unique } from './case-run.ts'
import type { Fault } from './subject.ts'
import { catchUncaught } from './uncaught.ts'

/** A short time limit, because a fault lasts for some requests. */
const SHORT_TIMEOUT = { timeout: 3 }

/** A fault of the database is an error, never a signed-out user, and leaves nothing broken. */
export const faultCases: readonly Case[] = [
  {
    id: 'away',
    sentence:
      'While the database is unreachable, requests fail and no user is logged out; afterwards everything works.',
    needs: ['faults.away'],
    check: (run) => checkOutage(run, run.subject.faults?.away, '/sign-out'),
  },
  {
    id: 'silent',
    sentence:
      'While the database never replies, requests fail instead of hanging; afterwards everything works.',
    needs: ['faults.silent'],
    check: (run) => checkOutage(run, run.subject.faults?.silent, '/sign-out'),
  },
  {
    id: 'failing',
    sentence:
      'While the database replies with errors, requests fail and no user is logged out; afterwards everything works.',
    needs: ['faults.failing'],
    check: (run) => checkOutage(run, run.subject.faults?.failing, '/sign-in?user=other'),
  },
  {
    id: 'away-at-start',
    sentence: 'A process that starts while the database is unreachable works once the database is back.',
    needs: ['faults.away'],
    async check(run) {
      const { browser, user } = await run.signIn(SHORT_TIMEOUT)
      let late: Browser
      await run.subject.faults?.away?.begin()
      try {
        late = browser.clone((await run.start(SHORT_TIMEOUT)).url)
        ok((await late.send('GET', '/read')).status >= 500)
      } finally {
        await run.subject.faults?.away?.end()
      }
      await eventually(async () => deepEqual(await late.read(), { user }))
    },
  },
  {
    id: 'table',
    sentence: 'Six processes that start at once on an empty database create the table, and all of them work.',
    needs: ['emptyPlace'],
    async check(run) {
      // Which process is first depends on chance: try three times.
      for (let round = 0; round < 3; round++) {
        const place = await run.subject.emptyPlace?.()
        try {
          const six = Array.from({ length: 6 }, () => run.start({}, place))
          const sites = await Promise.all(six)
          const users = sites.map(() => unique())
          const browsers = sites.map(({ url }) => new Browser(url))
          await Promise.all(browsers.map((browser, n) => browser.post(`/sign-in?user=${users[n]}`)))
          for (const [n, browser] of browsers.entries()) {
            deepEqual(await browser.clone(sites[0]?.url).read(), { user: users[n] })
          }
          await Promise.all(sites.map((site) => run.stop(site)))
        } finally {
          await place?.remove()
        }
      }
    },
  },
  {
    id: 'callback-once',
    sentence: 'A callback that throws is called only once, and the session stays.',
    async check(run) {
      const { store } = await run.start()
      if (store === undefined) throw new NotOffered('site.store')
      const id = unique()
      const session = { cookie: { originalMaxAge: null }, user: id } as never
      const settled = () =>
        new Promise<unknown>((resolve, reject) =>
          store.get(id, (error, found) => (error ? reject(error) : resolve(found))),
        )
      const operations: [string, (callback: () => void) => void][] = [
        ['set', (callback) => store.set(id, session, callback)],
        ['get', (callback) => store.get(id, callback)],
        ['get of nothing', (callback) => store.get(unique(), callback)],
        ['touch', (callback) => store.touch?.(id, session, callback) ?? callback],
        ['destroy', (callback) => store.destroy(unique(), callback)],
      ]
      const calls = new Map<string, number>()
      await catchUncaught(async () => {
        for (const [name, operation] of operations) {
          if (name === 'touch' && store.touch === undefined) continue
          await new Promise<void>((called) => {
            operation(() => {
              calls.set(name, (calls.get(name) ?? 0) + 1)
              called()
              throw new Error(`thrown by the callback of ${name}`)
            })
          })
          // A second call may take a few operations to come.
          for (let n = 0; n < 3; n++) await settled()
        }
      })
      deepEqual(
        [...calls].filter(([, count]) => count !== 1),
        [],
      )
      ok(await settled(), 'the session is missing')
    },
  },
]

async function checkOutage(run: CaseRun, fault: Fault | undefined, change: string): Promise<void> {
  const { browser, user } = await run.signIn(SHORT_TIMEOUT)
  // This request reads its session before the fault: only its write fails.
  const finish = await run.hold(browser.clone(), '/set?key=color&value=red')
  await fault?.begin()
  try {
    const answers = await Promise.all([
      browser.send('GET', '/read'),
      browser.send('POST', '/set?key=a&value=b'),
      browser.send('POST', change),
      finish(),
    ])
    const statuses = answers.map(({ status }) => status)
    deepEqual(
      statuses.map((status) => status >= 500),
      [true, true, true, true],
      `expected only statuses from 500; received ${statuses}`,
    )
  } finally {
    await fault?.end()
  }
  // The browser has the cookies that it got during the fault.
  await eventually(async () => deepEqual(await browser.read(), { user }))
  await browser.post('/set?key=color&value=blue')
  equal((await browser.read()).color, 'blue')
}
