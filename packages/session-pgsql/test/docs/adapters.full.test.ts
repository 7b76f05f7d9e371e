import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { compileStrict, createProject, type Project, pack } from '../packaging/consumer.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { blockFinder } from './blocks.ts'
import { startPasted } from './pasted-site.ts'

/** The first blocks of the pages of Fastify, Koa and Hono, as pasted, in a project with the packed package. */

const docs = join(import.meta.dirname, '../../../../docs')

describeOnEveryKind(
  'the page of',
  (server) => {
    let packed: Awaited<ReturnType<typeof pack>>
    let database: FreshDatabase
    beforeAll(async () => {
      packed = await pack()
      database = await server.freshDatabase()
    })
    afterAll(() => packed?.remove())

    describe.each([
      ['Fastify', 'fastify'],
      ['Koa', 'koa'],
      ['Hono', 'hono'],
    ])('%s', (heading, name) => {
      const block = blockFinder(join(docs, `${name}.md`))
      const main = new RegExp(`^${heading}$`)
      let project: Project
      let site: ChildProcess | undefined
      beforeAll(async () => {
        const [, packages = ''] = /^npm install (.*)$/m.exec(block(main, 'sh')) ?? []
        const others = packages.split(' ').filter((one) => one !== 'session-pgsql')
        project = await createProject(packed.tarball, {}, others)
      })
      afterEach(() => site?.kill('SIGKILL'))
      afterAll(() => project?.remove())

      test('counts visits, logs in with a new id, and logs out, also everywhere', async () => {
        const started = await startPasted(project, block(main, 'js'), {
          DATABASE_URL: database.db as string,
          SESSION_SECRET: '0123456789abcdef'.repeat(4),
        })
        site = started.site
        const visit = async (browser: Browser) => (await browser.send('GET', '/')).text
        const [laptop, phone] = [0, 1].map(() => new Browser(`http://localhost:${started.port}`)) as [
          Browser,
          Browser,
        ]
        expect([await visit(laptop), await visit(laptop)]).toEqual(['visit 1', 'visit 2'])
        const fixed = laptop.clone()
        for (const browser of [laptop, phone]) await browser.send('POST', '/login')
        expect([await visit(laptop), await visit(fixed)]).toEqual(['visit 3', 'visit 1'])

        const loggedOut = phone.clone()
        await phone.send('POST', '/logout')
        expect(await visit(loggedOut)).toBe('visit 1')

        await phone.send('POST', '/login')
        await phone.send('POST', '/logout-everywhere')
        expect([await visit(laptop), await visit(phone)]).toEqual(['visit 1', 'visit 1'])
      })

      test('has TypeScript that compiles in strict mode', async () => {
        await project.write('main.mts', block(/^TypeScript$/, 'ts'))
        await compileStrict(project, 'main.mts')
      })
    })
  },
  ['postgres'],
)
