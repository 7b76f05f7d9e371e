import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { Browser } from './browser.ts'
import { type Case, NotOffered } from './case.ts'
import { unique } from './visit.ts'

/** What a session is for: it is there until it ends. */
export const lifeCases: readonly Case[] = [
  {
    id: 'kept',
    sentence: 'A session is kept from one request to the next, and ends with the sign-out.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
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
    sentence: 'What is put into a session comes out as it was, whatever characters are in it.',
    async check(visit) {
      const { browser, user } = await visit.signIn()
      const text = `a\0b\u0001 "quoted" 'single' \\ \u2028 \u{1f600} \u00e4\u0430\u4e2d {"json":[1]} $1 %s ${'x'.repeat(5000)}`
      await browser.post(`/set?key=text&value=${encodeURIComponent(text)}`)
      deepEqual(await browser.read(), { user, text })
    },
  },
  {
    id: 'restart',
    sentence: 'A restart of the process keeps the sessions.',
    async check(visit) {
      const { site, browser, user } = await visit.signIn()
      await visit.stop(site)
      const again = await visit.start()
      deepEqual(await browser.clone(again.url).read(), { user })
    },
  },
  {
    id: 'nothing',
    sentence: 'A visitor who is given nothing leaves nothing in the store.',
    needs: ['fingerprint'],
    async check(visit) {
      const { site } = await visit.signIn()
      const before = await visit.subject.fingerprint?.()
      deepEqual(await new Browser(site.url).read(), {})
      equal(await visit.subject.fingerprint?.(), before)
    },
  },
  {
    id: 'no-write',
    sentence: 'Of ten requests that change nothing, one after the other, at most one writes to the store.',
    needs: ['fingerprint'],
    async check(visit) {
      const { browser } = await visit.signIn()
      await browser.post('/set?key=color&value=blue')
      let writes = 0
      let last = await visit.subject.fingerprint?.()
      for (let n = 0; n < 10; n++) {
        if (n % 2 === 0) await browser.read()
        else await browser.post('/set?key=color&value=blue')
        const now = await visit.subject.fingerprint?.()
        if (now !== last) writes++
        last = now
      }
      ok(writes <= 1, `${writes} of 10 requests have written`)
    },
  },
  {
    id: 'expired',
    sentence: 'A session lives as long as it should, and is gone when it has expired.',
    needs: ['lifetime', 'passTime'],
    async check(visit) {
      const lifetime = visit.subject.lifetime ?? 0
      const { browser, user } = await visit.signIn()
      await visit.subject.passTime?.(lifetime * 0.9)
      deepEqual(await browser.read(), { user })
      await visit.subject.passTime?.(lifetime * 2)
      deepEqual(await browser.read(), {})
    },
  },
  {
    id: 'activity',
    sentence: 'Activity moves the expiry: whoever goes on reading stays signed in.',
    needs: ['lifetime', 'passTime'],
    async check(visit) {
      const lifetime = visit.subject.lifetime ?? 0
      const { browser, user } = await visit.signIn()
      for (let n = 0; n < 3; n++) {
        await visit.subject.passTime?.(lifetime * 0.7)
        deepEqual(await browser.read(), { user })
      }
    },
  },
  {
    id: 'time-zone',
    sentence: 'When the time zone of the database changes, no session ends earlier, and none lives longer.',
    needs: ['setTimeZone', 'lifetime', 'passTime'],
    async check(visit) {
      const { subject } = visit
      const lifetime = subject.lifetime ?? 0
      const moveTo = async (zone: string) => {
        await subject.setTimeZone?.(zone)
        return visit.start()
      }
      try {
        await subject.setTimeZone?.('UTC')
        const { site, browser, user } = await visit.signIn()
        await visit.stop(site)
        const tokyo = await moveTo('Asia/Tokyo')
        deepEqual(await browser.clone(tokyo.url).read(), { user })
        const late = new Browser(tokyo.url)
        await late.post(`/sign-in?user=${user}`)
        await visit.stop(tokyo)
        const back = await moveTo('UTC')
        await subject.passTime?.(lifetime * 2)
        deepEqual(await late.clone(back.url).read(), {})
      } finally {
        await subject.setTimeZone?.('UTC')
      }
    },
  },
]

/** Nobody comes back: a session that has ended, and requests that were under way. */
export const endCases: readonly Case[] = [
  {
    id: 'sign-out',
    sentence: 'A request under way at the sign-out does not bring the session back.',
    async check(visit) {
      const { browser } = await visit.signIn()
      const before = browser.clone()
      const late = browser.clone()
      const finish = await visit.hold(late, '/set?key=color&value=red')
      await browser.post('/sign-out')
      await finish()
      deepEqual(await before.read(), {})
      equal('user' in (await late.read()), false)
    },
  },
  {
    id: 'sign-out-processes',
    sentence: 'A request under way in another process at the sign-out does not bring the session back.',
    async check(visit) {
      const { browser } = await visit.signIn()
      const other = await visit.start()
      const before = browser.clone()
      const late = browser.clone(other.url)
      const finish = await visit.hold(late, '/set?key=color&value=red')
      await browser.post('/sign-out')
      await finish()
      deepEqual(await before.read(), {})
      equal('user' in (await late.read()), false)
    },
  },
  {
    id: 'new-id',
    sentence: 'The sign-in gives a new id, and the old one is worth nothing.',
    async check(visit) {
      const site = await visit.start()
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
    id: 'new-id-slow',
    sentence: 'A request under way at the sign-in does not bring the old id back.',
    async check(visit) {
      const site = await visit.start()
      const browser = new Browser(site.url)
      await browser.post('/set?key=basket&value=apple')
      const old = browser.clone()
      const user = unique()
      const finish = await visit.hold(browser.clone(), '/set?key=basket&value=pear')
      await browser.post(`/sign-in?user=${user}`)
      await finish()
      deepEqual(await old.read(), {})
      equal((await browser.read()).user, user)
    },
  },
  {
    id: 'ended-id',
    sentence: 'An id whose session has ended is not used again for whoever still sends it.',
    async check(visit) {
      const { browser } = await visit.signIn()
      const [one, other] = [browser.clone(), browser.clone()]
      await browser.post('/sign-out')
      await one.post('/set?key=color&value=red')
      deepEqual(await one.read(), { color: 'red' })
      deepEqual(await other.read(), {})
    },
  },
  {
    id: 'expired-slow',
    sentence: 'A session that has long expired is not brought back by a request that was under way.',
    needs: ['lifetime', 'passTime'],
    async check(visit) {
      const { browser } = await visit.signIn()
      const before = browser.clone()
      const finish = await visit.hold(browser, '/set?key=color&value=red')
      await visit.subject.passTime?.((visit.subject.lifetime ?? 0) * 2)
      await finish()
      deepEqual(await before.read(), {})
    },
  },
  {
    id: 'everywhere',
    sentence: 'The sessions of one user can be counted, and ended, also under a request that is under way.',
    async check(visit) {
      const { site, browser, user } = await visit.signIn()
      const { users } = site
      if (users === undefined) throw new NotOffered('site.users')
      const phone = new Browser(site.url)
      await phone.post(`/sign-in?user=${user}`)
      const stranger = new Browser(site.url)
      await stranger.post(`/sign-in?user=${unique()}`)
      equal(await users.count(user), 2)
      const finish = await visit.hold(phone.clone(), '/set?key=color&value=red')
      await users.signOut(user)
      await finish()
      equal(await users.count(user), 0)
      deepEqual(await browser.read(), {})
      deepEqual(await phone.read(), {})
      notEqual((await stranger.read()).user, undefined)
    },
  },
]
