import { deepEqual, equal, ok } from 'node:assert/strict'
import { Browser } from './browser.ts'
import { type Case, NotOffered } from './case.ts'
import type { Fault } from './subject.ts'
import { catchUncaught } from './uncaught.ts'
import { eventually, unique, type Visit } from './visit.ts'

/** For stores that can be told how long to wait: a fault lasts a few requests. */
const IMPATIENT = { timeout: 3 }

/** A fault is an error, never "signed out", and is over when it is over. */
export const faultCases: readonly Case[] = [
  {
    id: 'away',
    sentence:
      'While the database is away requests fail, nobody is signed out, and all is well when it is back.',
    needs: ['faults.away'],
    check: (visit) => outage(visit, visit.subject.faults?.away, '/sign-out'),
  },
  {
    id: 'silent',
    sentence:
      'While the database takes everything and answers nothing, requests fail instead of hanging, and all is well afterwards.',
    needs: ['faults.silent'],
    check: (visit) => outage(visit, visit.subject.faults?.silent, '/sign-out'),
  },
  {
    id: 'failing',
    sentence:
      'While the database answers with errors, requests fail, nobody is signed out, and all is well afterwards.',
    needs: ['faults.failing'],
    check: (visit) => outage(visit, visit.subject.faults?.failing, '/sign-in?user=other'),
  },
  {
    id: 'away-at-start',
    sentence: 'A process that starts while the database is away works as soon as it is back.',
    needs: ['faults.away'],
    async check(visit) {
      const { browser, user } = await visit.signIn(IMPATIENT)
      let late: Browser
      await visit.subject.faults?.away?.begin()
      try {
        late = browser.clone((await visit.start(IMPATIENT)).url)
        ok((await late.send('GET', '/read')).status >= 500)
      } finally {
        await visit.subject.faults?.away?.end()
      }
      await eventually(async () => deepEqual(await late.read(), { user }))
    },
  },
  {
    id: 'table',
    sentence: 'Six processes that start at once where nothing is yet make their table, and all of them work.',
    needs: ['emptyPlace'],
    async check(visit) {
      // Which of them comes first is chance: three times.
      for (let round = 0; round < 3; round++) {
        const place = await visit.subject.emptyPlace?.()
        try {
          const six = Array.from({ length: 6 }, () => visit.start({}, place))
          const sites = await Promise.all(six)
          const users = sites.map(() => unique())
          const browsers = sites.map(({ url }) => new Browser(url))
          await Promise.all(browsers.map((browser, n) => browser.post(`/sign-in?user=${users[n]}`)))
          for (const [n, browser] of browsers.entries()) {
            deepEqual(await browser.clone(sites[0]?.url).read(), { user: users[n] })
          }
          await Promise.all(sites.map((site) => visit.stop(site)))
        } finally {
          await place?.remove()
        }
      }
    },
  },
  {
    id: 'callback-once',
    sentence: 'A callback that throws is not called a second time, and the session stays.',
    async check(visit) {
      const { store } = await visit.start()
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
          // What follows on the throw may take a few operations of its own.
          for (let n = 0; n < 3; n++) await settled()
        }
      })
      deepEqual(
        [...calls].filter(([, count]) => count !== 1),
        [],
      )
      ok(await settled(), 'the session is gone')
    },
  },
]

async function outage(visit: Visit, fault: Fault | undefined, change: string): Promise<void> {
  const { browser, user } = await visit.signIn(IMPATIENT)
  // It has read its session while all was well: what fails is its write.
  const finish = await visit.hold(browser.clone(), '/set?key=color&value=red')
  await fault?.begin()
  try {
    const statuses = await Promise.all([
      browser.send('GET', '/read').then(({ status }) => status),
      browser.send('POST', '/set?key=a&value=b').then(({ status }) => status),
      browser.send('POST', change).then(({ status }) => status),
      finish(),
    ])
    deepEqual(
      statuses.map((status) => status >= 500),
      [true, true, true, true],
      `the requests were answered with ${statuses}`,
    )
  } finally {
    await fault?.end()
  }
  // With the cookies that the outage has left.
  await eventually(async () => deepEqual(await browser.read(), { user }))
  await browser.post('/set?key=color&value=blue')
  equal((await browser.read()).color, 'blue')
}
