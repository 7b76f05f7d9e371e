import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SaveHandler, SaveHandlerOptions } from '../../src/index.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { eventually, until } from '../support/wait.ts'
import { Browser } from './browser.ts'

/**
 * What must hold behind every framework, over real HTTP: each adapter gives a driver, which starts a small site
 * with these routes. All of them answer with a status below 400 if they are well.
 *
 * - `GET /read`: the session's data as JSON, `{}` if there is no session; changes nothing
 * - `POST /set?key=k&value=v`: sets a key to a string
 * - `POST /delete?key=k`: deletes a key
 * - `POST /sign-in?user=u`: gives the session a new id where the framework can, and sets the key `user`
 * - `POST /sign-out`: destroys the session
 *
 * `set` and `delete` take `&wait=…` and pass it to `pause` after they have read the session and before they
 * change it.
 */
export interface AdapterDriver {
  readonly name: string
  /** What the framework's contract makes impossible; said in the adapter's docstring, too. */
  readonly cannot?: readonly 'changeId'[]
  /**
   * Starts a site on a free port.
   *
   * @param options for the save handler, as a user would give them to the adapter
   * @param pause to be awaited with the parameter `wait` of a request
   */
  start(options: SiteOptions, pause: Pause): Promise<Site>
}

// biome-ignore lint/suspicious/noExplicitAny: data of whatever adapter
export type SiteOptions = SaveHandlerOptions<any>

export type Pause = (wait: string | undefined) => Promise<void>

export interface Site {
  readonly url: string
  // biome-ignore lint/suspicious/noExplicitAny: data of whatever adapter
  readonly handler: SaveHandler<any>
  /** Ends the site and the save handler; the database stays. */
  stop(): Promise<void>
}

/** The site of an example, as a driver's `start`: what `createSite` in its site.js gives. */
export async function startExample(
  name: string,
  options: SiteOptions,
  pause: Pause,
  file = 'site.js',
): Promise<Site> {
  const path = fileURLToPath(new URL(`../../../../examples/${name}/${file}`, import.meta.url))
  const { createSite } = await import(/* @vite-ignore */ path)
  return createSite(options, pause)
}

/** Holds requests in the middle until the test lets them go on. */
export class Gates {
  readonly #waiting = new Map<string, () => void>()

  readonly pause: Pause = async (wait) => {
    if (wait === undefined || wait === null || wait === '') return
    await new Promise<void>((resolve) => this.#waiting.set(wait, resolve))
  }

  /** Until a request stands at this gate. */
  arrived(name: string): Promise<unknown> {
    return until(() => this.#waiting.has(name), `a request at the gate ${name}`, 30_000)
  }

  open(name: string): void {
    this.#waiting.get(name)?.()
    this.#waiting.delete(name)
  }

  openAll(): void {
    for (const name of [...this.#waiting.keys()]) this.open(name)
  }
}

export function describeGuarantees(driver: AdapterDriver): void {
  describeOnEveryServer(`The guarantees behind ${driver.name}`, (server) => {
    let database: FreshDatabase
    let gates: Gates
    let sites: Site[]

    beforeAll(async () => {
      database = await server.freshDatabase()
    })
    beforeEach(() => {
      gates = new Gates()
      sites = []
    })
    afterEach(async () => {
      gates.openAll()
      await Promise.all(sites.map((site) => site.stop()))
    })

    async function start(options: SiteOptions = {}): Promise<Site> {
      const { db } = database
      const site = await driver.start(
        {
          db: typeof db === 'string' ? { connectionString: db } : db,
          gcInterval: 0,
          // Slow and noisy machines: a time limit that is no part of the test shall not fail it.
          operationTimeout: 15,
          ...options,
        },
        gates.pause,
      )
      sites.push(site)
      return site
    }

    async function stop(site: Site): Promise<void> {
      sites = sites.filter((other) => other !== site)
      await site.stop()
    }

    async function visit(): Promise<{ site: Site; browser: Browser }> {
      const site = await start()
      return { site, browser: new Browser(site.url) }
    }

    /** What the rows hold in which this text occurs. */
    async function rowsWith(text: string): Promise<{ id: string; data: string; version: string }[]> {
      return database.query(
        'SELECT sess_id AS id, sess_data AS data, xmin::text AS version FROM php_session WHERE strpos(sess_data, $1) > 0',
        [text],
      )
    }

    async function theRowWith(text: string): Promise<{ id: string; data: string; version: string }> {
      const rows = await rowsWith(text)
      expect(rows).toHaveLength(1)
      return rows[0] as (typeof rows)[number]
    }

    test('a visitor without a session makes no row', async () => {
      const { site, browser } = await visit()
      const before = await site.handler.count()
      expect(await read(browser)).toEqual({})
      expect(await site.handler.count()).toBe(before)
    })

    test('a session is kept from one request to the next, and ends with the sign-out', async () => {
      const { browser } = await visit()
      const user = unique()
      await post(browser, `/sign-in?user=${user}`)
      await post(browser, '/set?key=color&value=blue')
      expect(await read(browser)).toEqual({ user, color: 'blue' })
      const late = browser.clone()
      await post(browser, '/sign-out')
      expect(await read(browser)).toEqual({})
      expect(await read(late)).toEqual({})
      expect(await rowsWith(user)).toEqual([])
    })

    test('a restart keeps the sessions', async () => {
      const { site, browser } = await visit()
      const user = unique()
      await post(browser, `/sign-in?user=${user}`)
      await stop(site)
      const again = await start()
      expect(await read(browser.clone(again.url))).toEqual({ user })
    })

    describe('requests that overlap', () => {
      test('do not undo each other', async () => {
        const { browser } = await visit()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        const slow = post(browser.clone(), '/set?key=left&value=1&wait=slow')
        await gates.arrived('slow')
        await post(browser.clone(), '/set?key=right&value=2')
        gates.open('slow')
        await slow
        expect(await read(browser)).toEqual({ user, left: '1', right: '2' })
      })

      test('do not undo each other in two processes', async () => {
        const { browser } = await visit()
        const other = await start()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        const slow = post(browser.clone(), '/set?key=left&value=1&wait=slow')
        await gates.arrived('slow')
        await post(browser.clone(other.url), '/set?key=right&value=2')
        gates.open('slow')
        await slow
        expect(await read(browser)).toEqual({ user, left: '1', right: '2' })
      })

      test('do not undo each other, ten at once', async () => {
        const { browser } = await visit()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        const names = Array.from({ length: 10 }, (_, index) => `k${index}`)
        const posts = names.map((key) => post(browser.clone(), `/set?key=${key}&value=1&wait=${key}`))
        for (const key of names) await gates.arrived(key)
        for (const key of names) gates.open(key)
        await Promise.all(posts)
        expect(await read(browser)).toEqual({ user, ...Object.fromEntries(names.map((key) => [key, '1'])) })
      })

      test('a deletion beats a slower change', async () => {
        const { browser } = await visit()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        await post(browser, '/set?key=basket&value=apple')
        const slow = post(browser.clone(), '/set?key=basket&value=pear&wait=slow')
        await gates.arrived('slow')
        await post(browser.clone(), '/delete?key=basket')
        gates.open('slow')
        await slow
        expect(await read(browser)).toEqual({ user })
      })

      test('a slower deletion beats a change', async () => {
        const { browser } = await visit()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        await post(browser, '/set?key=basket&value=apple')
        const slow = post(browser.clone(), '/delete?key=basket&wait=slow')
        await gates.arrived('slow')
        await post(browser.clone(), '/set?key=basket&value=pear')
        gates.open('slow')
        await slow
        expect(await read(browser)).toEqual({ user })
      })

      test('a request that changes nothing does not bring an old state back', async () => {
        const { browser } = await visit()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        await post(browser, '/set?key=basket&value=apple')
        const slow = post(browser.clone(), '/set?key=basket&value=apple&wait=slow')
        await gates.arrived('slow')
        await post(browser.clone(), '/set?key=basket&value=pear')
        gates.open('slow')
        await slow
        expect(await read(browser)).toEqual({ user, basket: 'pear' })
      })
    })

    test('nobody comes back: a request under way at the sign-out does not restore the session', async () => {
      const { browser } = await visit()
      const user = unique()
      await post(browser, `/sign-in?user=${user}`)
      const before = browser.clone()
      const late = browser.clone()
      const slow = late.send('POST', '/set?key=color&value=red&wait=slow')
      await gates.arrived('slow')
      await post(browser, '/sign-out')
      gates.open('slow')
      await slow
      expect(await read(before)).toEqual({})
      expect(await read(late)).not.toHaveProperty('user')
      expect(await rowsWith(user)).toEqual([])
    })

    test('nor one in another process', async () => {
      const { browser } = await visit()
      const other = await start()
      const user = unique()
      await post(browser, `/sign-in?user=${user}`)
      const late = browser.clone(other.url)
      const slow = late.send('POST', '/set?key=color&value=red&wait=slow')
      await gates.arrived('slow')
      await post(browser, '/sign-out')
      gates.open('slow')
      await slow
      expect(await read(late)).not.toHaveProperty('user')
      expect(await rowsWith(user)).toEqual([])
    })

    test('what has not changed is not written', async () => {
      const { site, browser } = await visit()
      const user = unique()
      await post(browser, `/sign-in?user=${user}`)
      await post(browser, '/set?key=color&value=blue')
      const { version } = await theRowWith(user)
      const calls = callsOf(site)
      await read(browser)
      await read(browser)
      await post(browser, '/set?key=color&value=blue')
      expect((await theRowWith(user)).version).toBe(version)
      // One statement for each request: the read.
      expect(callsOf(site) - calls).toBe(3)
    })

    if (!driver.cannot?.includes('changeId')) {
      test('the sign-in changes the id, and the old one is worth nothing', async () => {
        const { browser } = await visit()
        const mark = unique()
        await post(browser, `/set?key=mark&value=${mark}`)
        const { id } = await theRowWith(mark)
        const old = browser.clone()
        const user = unique()
        await post(browser, `/sign-in?user=${user}`)
        expect((await theRowWith(user)).id).not.toBe(id)
        expect(await read(browser)).toMatchObject({ user })
        expect(await read(old)).toEqual({})
        expect(await database.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
      })
    }

    test('a database that fails is an error, not a new session, and it heals', async () => {
      const site = await start({ operationTimeout: 3 })
      const browser = new Browser(site.url)
      const user = unique()
      await post(browser, `/sign-in?user=${user}`)
      const { id } = await theRowWith(user)
      const slow = browser.clone().send('POST', '/set?key=color&value=red&wait=slow')
      await gates.arrived('slow')
      await database.query('ALTER TABLE php_session RENAME COLUMN sess_data TO sess_away')
      try {
        expect((await browser.send('GET', '/read')).status).toBeGreaterThanOrEqual(500)
        expect((await browser.send('POST', '/set?key=a&value=b')).status).toBeGreaterThanOrEqual(500)
        gates.open('slow')
        // It had read its session while all was well: it is the write that fails.
        expect((await slow).status).toBeGreaterThanOrEqual(500)
        expect((await browser.send('POST', '/sign-in?user=x')).status).toBeGreaterThanOrEqual(500)
      } finally {
        await database.query('ALTER TABLE php_session RENAME COLUMN sess_away TO sess_data')
      }
      await healed(browser.clone(), user)
      expect((await theRowWith(user)).id).toBe(id)
    })

    if (server.kind === 'postgres') {
      test('a database that is away is an error, not a new session, and it heals', async () => {
        const url = new URL(database.db as string)
        const proxy: FaultyProxy = await startProxy({ host: url.hostname, port: Number(url.port) })
        try {
          url.host = `${proxy.host}:${proxy.port}`
          const site = await start({ db: { connectionString: url.href }, operationTimeout: 3 })
          const browser = new Browser(site.url)
          const user = unique()
          await post(browser, `/sign-in?user=${user}`)
          const slow = browser.clone().send('POST', '/set?key=color&value=red&wait=slow')
          await gates.arrived('slow')
          await proxy.refuse()
          proxy.drop()
          expect((await browser.send('GET', '/read')).status).toBeGreaterThanOrEqual(500)
          gates.open('slow')
          expect((await slow).status).toBeGreaterThanOrEqual(500)
          expect((await browser.send('POST', '/sign-out')).status).toBeGreaterThanOrEqual(500)
          await proxy.resume()
          await healed(browser.clone(), user)
        } finally {
          await proxy.stop()
        }
      })
    }

    /** The same visitor is signed in again, with nothing but what was stored. */
    function healed(browser: Browser, user: string): Promise<void> {
      return eventually(async () => expect(await read(browser)).toEqual({ user }), 30_000)
    }
  })
}

async function read(browser: Browser): Promise<Record<string, unknown>> {
  const { status, text } = await browser.send('GET', '/read')
  if (status !== 200) throw new Error(`/read: ${status} ${text}`)
  return JSON.parse(text)
}

async function post(browser: Browser, path: string): Promise<void> {
  const { status, text } = await browser.send('POST', path)
  if (status >= 400) throw new Error(`${path}: ${status} ${text}`)
}

function callsOf({ handler }: Site): number {
  return handler.status().servers.reduce((sum, { calls }) => sum + calls, 0)
}

let count = 0

/** A value that occurs in no other test. */
function unique(): string {
  return `u${process.pid}x${++count}x${Math.random().toString(36).slice(2)}`
}
