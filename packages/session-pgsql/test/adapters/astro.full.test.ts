import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { laterNode } from '../support/programs.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { describeGuarantees, type Site } from './guarantees.ts'
import { runInExample, startSiteProcess } from './site-process.ts'

/** The site of examples/astro, as `astro build` makes it from the built package. */
const node = laterNode()
const program = { name: 'astro', command: [node ?? '', 'main.js'] } as const

if (node === undefined) test.skip('Astro needs Node.js 22.12: this one, or node24 in the PATH')
else {
  beforeAll(() => runInExample('astro', node, '../../node_modules/astro/bin/astro.mjs', 'build'))

  describeGuarantees({
    name: 'session-pgsql/astro',
    lifetime: 86400,
    offers: ['users'],
    inProcesses: true,
    start: (options, pause) => startSiteProcess(program, options, pause),
  })

  describeOnEveryKind(
    'A site of Astro',
    (server) => {
      let database: FreshDatabase
      let site: Site
      beforeAll(async () => {
        database = await server.freshDatabase()
        site = await startSiteProcess(program, { db: database.db, gcInterval: 0 }, async () => {})
      })
      afterAll(() => site.stop())
      afterEach(() => database.query('DELETE FROM php_session'))

      test('a page counts visits, and the session shows no key of the driver', async () => {
        const browser = new Browser(site.url)
        for (const visit of [1, 2, 3]) {
          expect((await browser.send('GET', '/')).text).toContain(`Visit ${visit}.`)
        }
        expect(await browser.read()).toEqual({ visits: 3 })
        expect(await database.query('SELECT sess_data FROM php_session')).toEqual([
          { sess_data: '{"visits":3}' },
        ])
      })
    },
    ['postgres'],
  )
}
