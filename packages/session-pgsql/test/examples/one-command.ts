import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { type ExampleProcess, startExample } from './example-process.ts'

export interface Visit {
  /** Stores something. */
  store(browser: Browser): Promise<unknown>
  /** A page that shows it. */
  readonly page: string
  /** The text on that page. */
  readonly shows: string
  /** True if browsers without the session see it, too. */
  readonly isPublic?: boolean
}

/** The site of the conformance suite, which most examples are. */
export const conformanceSite: Visit = {
  async store(browser) {
    await browser.send('POST', '/sign-in?user=ada')
    await browser.send('POST', '/set?key=color&value=blue')
  },
  page: '/read',
  shows: '"color":"blue"',
}

/**
 * Starts an example with `npm start`, as a process on the embedded database and on the built package. A browser stores
 * something, the process restarts, and the browser reads it again. An example that is built is built in its own folder,
 * so only one test file may start it.
 */
export function describeOneCommand(name: string, visit: Visit): void {
  describe(`the example ${name}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-example-'))
    let running: ExampleProcess | undefined
    afterEach(async () => {
      await running?.end('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    })

    const start = () => startExample(name, folder)

    test('starts with one command, and keeps its sessions after a restart', async () => {
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
}
