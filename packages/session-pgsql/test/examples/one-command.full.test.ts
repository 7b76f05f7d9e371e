import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { EXAMPLES, type ExampleProcess, startExample } from './example-process.ts'

/**
 * Starts every example with `npm start`, as a process on the embedded database and on the built package. A browser
 * stores something, the process restarts, and the browser reads it again.
 */

/** Need more than this Node.js: `adapters/`, the server package and, with a browser, `shop.full.test.ts` start them. */
const ELSEWHERE = ['adonis', 'astro', 'elysia', 'php-and-node', 'shop', 'sveltekit', 'tanstack-start']

interface Visit {
  /** Stores something. */
  store(browser: Browser): Promise<unknown>
  /** A page that shows it. */
  readonly page: string
  /** The text on that page. */
  readonly shows: string
  /** True if browsers without the session see it, too. */
  readonly isPublic?: boolean
}

const conformanceSite: Visit = {
  async store(browser) {
    await browser.send('POST', '/sign-in?user=ada')
    await browser.send('POST', '/set?key=color&value=blue')
  },
  page: '/read',
  shows: '"color":"blue"',
}

const account = { name: 'Ada', email: 'ada@example.org', password: 'a long password' }

const VISITS: Record<string, Visit> = {
  'better-auth': {
    store: (browser) => browser.send('POST', '/api/auth/sign-up/email', account),
    page: '/api/auth/get-session',
    shows: 'ada@example.org',
  },
  demo: {
    store: (browser) => browser.send('POST', '/sign-in', new URLSearchParams({ user: 'lovelace' })),
    page: '/',
    shows: 'lovelace',
  },
  fastify: conformanceSite,
  h3: conformanceSite,
  hono: conformanceSite,
  koa: conformanceSite,
  nestjs: conformanceSite,
  next: conformanceSite,
  'react-router': conformanceSite,
  'socket.io': conformanceSite,
  unstorage: {
    async store(browser) {
      await browser.send('POST', '/sign-in?user=ada')
      await browser.send('PUT', '/color', 'blue')
    },
    page: '/color',
    shows: 'blue',
    isPublic: true,
  },
  web: conformanceSite,
}

test('tests every example', () => {
  const examples = readdirSync(EXAMPLES)
  expect([...Object.keys(VISITS), ...ELSEWHERE].sort()).toEqual(examples.sort())
})

describe.each(Object.keys(VISITS))('the example %s', (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-example-'))
  let running: ExampleProcess | undefined
  afterEach(async () => {
    await running?.end('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  const start = () => startExample(name, folder)

  test('starts with one command, and keeps its sessions after a restart', async () => {
    const visit = VISITS[name] as Visit
    running = await start()
    const browser = new Browser(running.url)
    await visit.store(browser)
    expect((await browser.send('GET', visit.page)).text).toContain(visit.shows)
    expect(await running.end('SIGINT')).not.toMatch(/Error/)
    running = await start()
    expect((await browser.clone(running.url).send('GET', visit.page)).text).toContain(visit.shows)
    const otherBrowser = await new Browser(running.url).send('GET', visit.page)
    expect(otherBrowser.status).toBeLessThan(500)
    if (visit.isPublic !== true) expect(otherBrowser.text).not.toContain(visit.shows)
    await running.end('SIGTERM')
  }, 300_000)
})
