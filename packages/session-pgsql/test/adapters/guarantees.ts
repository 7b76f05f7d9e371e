import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { SaveHandler, SaveHandlerOptions } from '../../src/index.ts'
import { Browser } from '../../src/testing/browser.ts'
import { type ConformanceSite, type ConformanceSubject, conformanceCases } from '../../src/testing.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { networkFaults } from '../testing/network-faults.ts'

/**
 * Runs the conformance suite on a framework with its adapter. The driver starts a site with the routes of
 * `ConformanceSite`.
 */
export interface AdapterDriver {
  readonly name: string
  /** Seconds that its sessions live. */
  readonly lifetime: number
  /** By the id of a case: the limitation of the framework that prevents it. The README lists them, too. */
  readonly cannot?: Readonly<Record<string, string>>
  /** The ids of the cases to run. Default: all */
  readonly only?: readonly string[]
  /** `users`: the sign-in sets the custom field to the user. `store`: the sites have a store of express-session. */
  readonly offers?: readonly ('users' | 'store')[]
  /** Each site is a process of its own: it cannot share a PGlite, and its statements are not counted here. */
  readonly inProcesses?: boolean
  /**
   * Starts a site on a free port.
   *
   * @param options the adapter's options for its save handler
   * @param pause to await with the parameter `wait` of a request
   */
  start(options: SiteOptions, pause: Pause): Promise<Site>
}

/** By default the old id works for ten more seconds after the login, for requests in progress. */
const WITHIN_GRACE = 'The old id still works within the grace period'

/** What the sites of `session-pgsql/web`, and of the adapters above it, have in common. */
export const WEB_SESSIONS = {
  lifetime: 86400,
  offers: ['users'],
  cannot: { 'new-id': WITHIN_GRACE, 'new-id-again': WITHIN_GRACE, 'new-id-slow': WITHIN_GRACE },
} as const

// biome-ignore lint/suspicious/noExplicitAny: data of any adapter
export type SiteOptions = SaveHandlerOptions<any>

export type Pause = (wait: string | null | undefined) => Promise<void>

export interface Site extends ConformanceSite {
  // biome-ignore lint/suspicious/noExplicitAny: data of any adapter
  readonly handler: SaveHandler<any>
}

/** Starts the site of an example: `createSite` in its site.js. */
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

export function describeGuarantees(driver: AdapterDriver): void {
  describeOnEveryKind(`The guarantees behind ${driver.name}`, (server) => {
    if (driver.inProcesses && server.kind === 'pglite') {
      test.skip('cannot share a PGlite with other processes')
      return
    }
    let database: FreshDatabase
    let proxy: FaultyProxy | undefined
    /** The option `db` of the sites: through the proxy, if there is one. */
    let db: SiteOptions['db']

    beforeAll(async () => {
      database = await server.freshDatabase()
      db = database.db
      if (typeof db !== 'string') return
      const url = new URL(db)
      proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
      url.host = `${proxy.host}:${proxy.port}`
      db = { connectionString: url.href }
    })
    afterAll(() => proxy?.stop())

    const place = (options: SiteOptions) => ({
      async start({ pause, timeout }: { pause: Pause; timeout: number }): Promise<ConformanceSite> {
        const site = await driver.start(
          { db, gcInterval: 0, operationTimeout: timeout / 2, ...options },
          pause,
        )
        if (!driver.offers?.includes('users')) return site
        return {
          ...site,
          users: {
            count: async (user) => (await site.handler.findByField(user)).length,
            signOut: async (user) => void (await site.handler.destroyByField(user)),
          },
        }
      },
    })
    let tables = 0

    const subject: ConformanceSubject = {
      name: driver.name,
      lifetime: driver.lifetime,
      cannot: {
        ...(!driver.offers?.includes('users') && { everywhere: 'The sign-in sets no field' }),
        ...(!driver.offers?.includes('store') && { 'callback-once': 'The store has no callbacks' }),
        ...driver.cannot,
      },
      ...place({}),
      async passTime(seconds) {
        await database.query('UPDATE php_session SET sess_expire = sess_expire - $1::int', [
          Math.round(seconds),
        ])
      },
      async fingerprint() {
        const rows = await database.query(
          'SELECT sess_id, xmin::text, ctid::text FROM php_session ORDER BY 1',
        )
        return JSON.stringify(rows)
      },
      faults: {
        failing: {
          begin: async () =>
            void (await database.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')),
          end: async () =>
            void (await database.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')),
        },
        ...(server.kind === 'postgres' && networkFaults(() => proxy as FaultyProxy)),
      },
      async setTimeZone(zone) {
        const [row] = await database.query<{ name: string }>('SELECT current_database() AS name')
        await database.query(
          server.kind === 'pglite'
            ? `SET timezone TO '${zone}'`
            : `ALTER DATABASE "${row?.name}" SET timezone TO '${zone}'`,
        )
      },
      async emptyPlace() {
        const table = `empty_${++tables}`
        const remove = async () => void (await database.query(`DROP TABLE IF EXISTS ${table}`))
        return { ...place({ table }), remove }
      },
    }

    for (const { id, sentence, leftOut, run } of conformanceCases(subject)) {
      if (leftOut !== undefined || driver.only?.includes(id) === false) continue
      test(sentence, run)
    }

    if (driver.only !== undefined || driver.inProcesses) return

    test('a request that changes nothing sends one statement: the read', async () => {
      const site = await driver.start({ db, gcInterval: 0, operationTimeout: 15 }, async () => {})
      try {
        const browser = new Browser(site.url)
        await browser.post('/sign-in?user=ada')
        await browser.post('/set?key=color&value=blue')
        const calls = callsOf(site)
        await browser.read()
        await browser.read()
        await browser.post('/set?key=color&value=blue')
        expect(callsOf(site) - calls).toBe(3)
      } finally {
        await site.stop()
      }
    })
  })
}

function callsOf({ handler }: Site): number {
  return handler.status().servers.reduce((sum, { calls }) => sum + calls, 0)
}
