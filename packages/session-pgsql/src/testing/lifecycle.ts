import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { Browser } from './browser.ts'
import { type Case, NotOffered } from './case.ts'
import { type CaseRun, unique } from './case-run.ts'

/** A session lasts until it is ended or expires. */
export const lifecycleCases: readonly Case[] = [
  {
    id: 'kept',
    sentence: 'A session lasts from one request to the next and ends at the logout.',
    async check(run) {
      const { browser, user } = await run.signIn()
      await browser.post('/set?key=color&value=blue')
      deepEqual(await browser.read(), { user, color: 'blue' })
      const late = browser.clone()
      await browser.post('/sign-out')
      deepEqual(await browser.read(), {})
      deepEqual(await late.read(), {})
    },
  },
  {
    id: 'characters',
    sentence: 'A session returns text unchanged, whatever characters it contains.',
    async check(run) {
      const { browser, user } = await run.signIn()
      const text = `a\0b\u0001 "quoted" 'single' \\ \u2028 \u{1f600} \u00e4\u0430\u4e2d {"json":[1]} $1 %s ${'x'.repeat(5000)}`
      await browser.post(`/set?key=text&value=${encodeURIComponent(text)}`)
      deepEqual(await browser.read(), { user, text })
    },
  },
  {
    id: 'restart',
    sentence: 'Sessions survive a restart of the process.',
    async check(run) {
      const { site, browser, user } = await run.signIn()
      await run.stop(site)
      const again = await run.start()
      deepEqual(await browser.clone(again.url).read(), { user })
    },
  },
  {
    id: 'nothing',
    sentence: 'A request that sets nothing stores nothing.',
    needs: ['fingerprint'],
    async check(run) {
      const { site } = await run.signIn()
      const before = await run.subject.fingerprint?.()
      deepEqual(await new Browser(site.url).read(), {})
      equal(await run.subject.fingerprint?.(), before)
    },
  },
  {
    id: 'no-write',
    sentence: 'Of ten consecutive requests that change nothing, at most one writes to the store.',
    needs: ['fingerprint'],
    async check(run) {
      const { browser } = await run.signIn()
      await browser.post('/set?key=color&value=blue')
      let writes = 0
      let last = await run.subject.fingerprint?.()
      for (let n = 0; n < 10; n++) {
        if (n % 2 === 0) await browser.read()
        else await browser.post('/set?key=color&value=blue')
        const now = await run.subject.fingerprint?.()
        if (now !== last) writes++
        last = now
      }
      ok(writes <= 1, `${writes} of 10 requests have written`)
    },
  },
  {
    id: 'expired',
    sentence: 'A session lives for its lifetime and is absent after it.',
    needs: ['lifetime', 'passTime'],
    async check(run) {
      const lifetime = run.subject.lifetime ?? 0
      const { browser, user } = await run.signIn()
      await run.subject.passTime?.(lifetime * 0.9)
      deepEqual(await browser.read(), { user })
      await run.subject.passTime?.(lifetime * 2)
      deepEqual(await browser.read(), {})
    },
  },
  {
    id: 'activity',
    sentence: 'Each access extends the expiry, so that an active user stays logged in.',
    needs: ['lifetime', 'passTime'],
    async check(run) {
      const lifetime = run.subject.lifetime ?? 0
      const { browser, user } = await run.signIn()
      for (let n = 0; n < 3; n++) {
        await run.subject.passTime?.(lifetime * 0.7)
        deepEqual(await browser.read(), { user })
      }
    },
  },
  {
    id: 'time-zone',
    sentence: "A change of the database's time zone neither ends a session early nor extends one.",
    needs: ['setTimeZone', 'lifetime', 'passTime'],
    async check(run) {
      const { subject } = run
      const lifetime = subject.lifetime ?? 0
      const moveTo = async (zone: string) => {
        await subject.setTimeZone?.(zone)
        return run.start()
      }
      try {
        await subject.setTimeZone?.('UTC')
        const { site, browser, user } = await run.signIn()
        await run.stop(site)
        const tokyo = await moveTo('Asia/Tokyo')
        deepEqual(await browser.clone(tokyo.url).read(), { user })
        const late = new Browser(tokyo.url)
        await late.post(`/sign-in?user=${user}`)
        await run.stop(tokyo)
        const back = await moveTo('UTC')
        await subject.passTime?.(lifetime * 2)
        deepEqual(await late.clone(back.url).read(), {})
      } finally {
        await subject.setTimeZone?.('UTC')
      }
    },
  },
]

/** A session that has ended stays ended, even if a request with it is in progress. */
export const endCases: readonly Case[] = [
  {
    id: 'sign-out',
    sentence: 'A request in progress at the logout does not restore the session.',
    async check(run) {
      const { site, browser } = await run.signIn()
      await signOutDuringRequest(run, browser, site.url)
    },
  },
  {
    id: 'sign-out-processes',
    sentence: 'A request in progress in another process at the logout does not restore the session.',
    async check(run) {
      const { browser } = await run.signIn()
      const { url } = await run.start()
      await signOutDuringRequest(run, browser, url)
    },
  },
  {
    id: 'new-id',
    sentence: 'The login changes the id, and the old id has no session.',
    async check(run) {
      const site = await run.start()
      const browser = new Browser(site.url)
      await browser.post('/set?key=basket&value=apple')
      const old = browser.clone()
      const user = unique()
      await browser.post(`/sign-in?user=${user}`)
      equal((await browser.read()).user, user)
      deepEqual(await old.read(), {})
    },
  },
  {
    id: 'new-id-again',
    sentence: 'A login of a user who is logged in changes the id, and the old id has no session.',
    async check(run) {
      const { browser } = await run.signIn()
      const old = browser.clone()
      const user = unique()
      await browser.post(`/sign-in?user=${user}`)
      deepEqual(await old.read(), {})
      equal((await browser.read()).user, user)
    },
  },
  {
    id: 'new-id-slow',
    sentence: 'A request in progress at the login does not restore the session of the old id.',
    async check(run) {
      const site = await run.start()
      const browser = new Browser(site.url)
      await browser.post('/set?key=basket&value=apple')
      const old = browser.clone()
      const user = unique()
      const finish = await run.hold(browser.clone(), '/set?key=basket&value=pear')
      await browser.post(`/sign-in?user=${user}`)
      await finish()
      deepEqual(await old.read(), {})
      equal((await browser.read()).user, user)
    },
  },
  {
    id: 'ended-id',
    sentence: 'The id of an ended session is not used again when a browser still sends it.',
    async check(run) {
      const { browser } = await run.signIn()
      const [one, other] = [browser.clone(), browser.clone()]
      await browser.post('/sign-out')
      await one.post('/set?key=color&value=red')
      deepEqual(await one.read(), { color: 'red' })
      deepEqual(await other.read(), {})
    },
  },
  {
    id: 'expired-slow',
    sentence: 'A request in progress does not restore a session that expired long ago.',
    needs: ['lifetime', 'passTime'],
    async check(run) {
      const { browser } = await run.signIn()
      const before = browser.clone()
      const finish = await run.hold(browser, '/set?key=color&value=red')
      await run.subject.passTime?.((run.subject.lifetime ?? 0) * 2)
      await finish()
      deepEqual(await before.read(), {})
    },
  },
  {
    id: 'everywhere',
    sentence:
      'All sessions of one user can be counted and ended, even while one of them has a request in progress.',
    async check(run) {
      const { site, browser, user } = await run.signIn()
      const { users } = site
      if (users === undefined) throw new NotOffered('site.users')
      const phone = new Browser(site.url)
      await phone.post(`/sign-in?user=${user}`)
      const otherUser = new Browser(site.url)
      await otherUser.post(`/sign-in?user=${unique()}`)
      equal(await users.count(user), 2)
      const finish = await run.hold(phone.clone(), '/set?key=color&value=red')
      await users.signOut(user)
      await finish()
      equal(await users.count(user), 0)
      deepEqual(await browser.read(), {})
      deepEqual(await phone.read(), {})
      notEqual((await otherUser.read()).user, undefined)
    },
  },
]

/** @param url the site that has the request in progress */
async function signOutDuringRequest(run: CaseRun, browser: Browser, url: string): Promise<void> {
  const before = browser.clone()
  const late = browser.clone(url)
  const finish = await run.hold(late, '/set?key=color&value=red')
  await browser.post('/sign-out')
  await finish()
  deepEqual(await before.read(), {})
  // The late request may have started a new session, which is not the user's.
  equal('user' in (await late.read()), false)
}
