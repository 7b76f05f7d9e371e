import type { PGlite } from '@electric-sql/pglite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { Gates } from '../../src/testing/gates.ts'
import { listen } from '../express/site.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'

describeOnEveryKind(
  'The demo',
  (server) => {
    let database: FreshDatabase
    let gates: Gates
    const stopping: (() => Promise<void>)[] = []

    beforeEach(async () => {
      database = await server.freshDatabase()
      gates = new Gates()
    })
    afterEach(async () => {
      gates.openAll()
      for (const stop of stopping.splice(0)) await stop()
    })

    async function start(): Promise<{ url: string; stop(): Promise<void> }> {
      const { createSite } = await import(
        new URL('../../../../examples/demo/site.js', import.meta.url).pathname
      )
      const { app, handler } = createSite(database.db as PGlite, gates.pause)
      app.set('env', 'test')
      const { url, close } = await listen(app)
      const stop = async (): Promise<void> => {
        await close()
        await handler.close()
      }
      stopping.push(stop)
      return { url, stop }
    }

    async function signedIn(): Promise<Browser> {
      const browser = new Browser((await start()).url)
      await browser.send('POST', '/sign-in', new URLSearchParams({ user: 'lovelace' }))
      expect((await browser.send('GET', '/')).text).toContain('Signed in as lovelace')
      return browser
    }

    async function rowsWith(text: string): Promise<object[]> {
      return database.query('SELECT sess_id FROM php_session WHERE strpos(sess_data, $1) > 0', [text])
    }

    test('overlapping requests keep each other’s changes', async () => {
      const browser = await signedIn()
      const notes = ['left', 'right'].map((key) => browser.clone().send('POST', `/note/${key}`))
      await gates.reached('left')
      await gates.reached('right')
      gates.openAll()
      await Promise.all(notes)
      const { text } = await browser.send('GET', '/')
      expect(text).toContain('<code>left</code>')
      expect(text).toContain('<code>right</code>')
    })

    test('a request in progress at the sign-out does not restore the session', async () => {
      const browser = await signedIn()
      const [before, late] = [browser.clone(), browser.clone()]
      const slow = late.send('POST', '/note/late')
      await gates.reached('late')
      await browser.send('POST', '/sign-out')
      gates.open('late')
      await slow
      expect(await rowsWith('lovelace')).toEqual([])
      expect((await before.send('GET', '/')).text).toContain('You are not signed in')
    })

    test('signing out everywhere ends all sessions of the user and no other', async () => {
      const browser = await signedIn()
      const [other, otherUser] = [new Browser(browser.url), new Browser(browser.url)]
      await other.send('POST', '/sign-in', new URLSearchParams({ user: 'lovelace' }))
      await otherUser.send('POST', '/sign-in', new URLSearchParams({ user: 'babbage' }))
      await browser.send('POST', '/sign-out-everywhere')
      expect((await other.send('GET', '/')).text).toContain('You are not signed in')
      expect((await otherUser.send('GET', '/')).text).toContain('Signed in as babbage')
    })

    test('the devices of a user are shown, and one can end another', async () => {
      const browser = await signedIn()
      const other = new Browser(browser.url)
      await other.send('POST', '/sign-in', new URLSearchParams({ user: 'lovelace' }))
      const before = (await browser.send('GET', '/')).text
      const devices = [...before.matchAll(/<tr( class="here")?>\s*<td>[\s\S]*?\/devices\/([\w-]+)\/end/g)]
      expect(devices.map(([, here]) => here !== undefined).sort()).toEqual([false, true])
      const [, , handle] = devices.find(([, here]) => here === undefined) as string[]
      await browser.send('POST', `/devices/${handle}/end`)
      expect((await other.send('GET', '/')).text).toContain('You are not signed in')
      expect((await browser.send('GET', '/')).text).toContain('Signed in as lovelace')
    })

    test('sessions survive a restart, and a database error is an error, not a new session', async () => {
      const browser = await signedIn()
      for (const stop of stopping.splice(0)) await stop()
      const again = browser.clone((await start()).url)
      expect((await again.send('GET', '/')).text).toContain('Signed in as lovelace')
      await database.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
      const { status } = await again.clone().send('GET', '/')
      await database.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
      expect(status).toBe(500)
      expect((await again.send('GET', '/')).text).toContain('Signed in as lovelace')
    })
  },
  ['pglite'],
)
