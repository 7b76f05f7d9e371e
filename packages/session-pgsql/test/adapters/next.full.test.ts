import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { conformanceSite, describeOneCommand } from '../examples/one-command.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { describeGuarantees, type Site, WEB_SESSIONS } from './guarantees.ts'
import { runInExample, startSiteProcess } from './site-process.ts'

/** The site of examples/next, as `next build` makes it from the built package. */
const PROGRAM = { name: 'next', command: [process.execPath, 'main.js'] } as const

beforeAll(() => runInExample('next', 'npx', 'next', 'build'))

describeOneCommand('next', conformanceSite)

describeGuarantees({
  ...WEB_SESSIONS,
  name: 'session-pgsql/next',
  inProcesses: true,
  start: (options, pause) => startSiteProcess(PROGRAM, options, pause),
})

describeOnEveryKind(
  'A site of Next.js',
  (server) => {
    let database: FreshDatabase
    let site: Site
    beforeAll(async () => {
      database = await server.freshDatabase()
      site = await startSiteProcess(PROGRAM, { db: database.db, gcInterval: 0 }, async () => {})
    })
    afterAll(() => site.stop())
    afterEach(() => database.query('DELETE FROM php_session'))

    /** Sends the form of the page as a browser without JavaScript does. */
    async function submit(browser: Browser, fields: Record<string, string>): Promise<string> {
      const { text } = await browser.send('GET', '/')
      const form = new FormData()
      for (const [, name = '', value = ''] of text.matchAll(
        /<input type="hidden" name="([^"]*)"(?: value="([^"]*)")?/g,
      )) {
        form.set(name, value.replaceAll('&quot;', '"'))
      }
      for (const [name, value] of Object.entries(fields)) form.set(name, value)
      const answer = await browser.send('POST', '/', form)
      expect(answer.status).toBeLessThan(400)
      return answer.text
    }

    test('a server action logs in and out, and the page that it renders shows it', async () => {
      const browser = new Browser(site.url)
      expect((await browser.send('GET', '/')).text).toContain('Not logged in')
      expect(await site.handler.list()).toEqual([])
      expect(await submit(browser, { user: 'ada' })).toContain('Welcome')
      expect((await browser.send('GET', '/')).text).toContain('<header>ada</header>')
      expect(await site.handler.findByField('ada')).toHaveLength(1)
      expect(await submit(browser, {})).toContain('Not logged in')
      expect(browser.cookies.size).toBe(0)
      expect(await site.handler.list()).toEqual([])
    })

    test('a server action at the login changes the id and keeps what other requests have set', async () => {
      const browser = new Browser(site.url)
      await browser.post('/set?key=cart&value=book')
      const [before] = await site.handler.list()
      await submit(browser, { user: 'ada' })
      const after = (await site.handler.findByField('ada'))[0]
      expect(after?.data).toMatchObject({ cart: 'book', user: 'ada' })
      expect(after?.id).not.toBe(before?.id)
    })

    test('reading pages extends the expiry by the proxy of docs/next.md', async () => {
      const browser = new Browser(site.url)
      await browser.post('/sign-in?user=ada')
      await database.query('UPDATE php_session SET sess_expire = sess_expire - 80000')
      await browser.send('GET', '/')
      const [{ expires } = { expires: null }] = await site.handler.list()
      expect((expires as Date).getTime() - Date.now()).toBeGreaterThan(86_000_000)
    })
  },
  ['postgres'],
)
