import { existsSync } from 'node:fs'
import axe from 'axe-core'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/** A real browser: Debian's Chromium, driven by playwright-core. */

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: found() as string,
    // Containers have no user namespaces; and it should talk to nobody but us.
    args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
  })
}

function found(): string | undefined {
  const named = process.env.CHROMIUM
  return (named === undefined ? PLACES : [named]).find((path) => existsSync(path))
}

/** What went wrong in a page without anybody there having been told: refused by the policy, thrown, not found, asked of others. */
export type Complaints = string[]

export interface Surfing {
  /** A page in a browser profile of its own; its complaints are checked after the test. */
  page(options?: BrowserContextOptions): Promise<Page>
  /** Complaints that a test expects, such as requests that fail while a server is down. */
  forgive(pattern: RegExp): void
}

/** Tests with a browser. Without Chromium they are skipped, and say so. */
export function describeInBrowser(name: string, suite: (surfing: Surfing) => void): void {
  describe(name, () => {
    if (found() === undefined) {
      const missing = `Chromium is not installed (looked for ${process.env.CHROMIUM ?? PLACES.join(', ')})`
      test(`needs a browser: ${missing}`, (ctx) => ctx.skip(missing))
      return
    }
    let browser: Browser
    let complaints: Complaints = []
    let forgiven: RegExp[] = []
    beforeAll(async () => {
      browser = await launch()
    })
    afterAll(() => browser?.close())
    suite({
      async page(options = {}) {
        const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
        const page = await context.newPage()
        page.on('console', (message) => {
          if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
        })
        page.on('pageerror', (error) => complaints.push(error.message))
        page.on('request', (request) => {
          const { hostname, protocol } = new URL(request.url())
          const here = hostname === '127.0.0.1' || hostname === 'localhost' || protocol === 'data:'
          if (!here) complaints.push(`asked somebody else: ${request.url()}`)
        })
        return page
      },
      forgive: (pattern) => forgiven.push(pattern),
    })
    afterAll(() => {
      const left = complaints.filter((complaint) => !forgiven.some((pattern) => pattern.test(complaint)))
      complaints = []
      forgiven = []
      expect(left).toEqual([])
    })
  })
}

interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary: string }[]
}

/** What axe finds that is worse than minor, one line for each. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const violations = (await page.evaluate(
    'axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations)',
  )) as Violation[]
  return violations
    .filter(({ impact }) => impact !== 'minor')
    .flatMap(({ id, impact, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${impact} ${id} ${target.join(' ')}: ${failureSummary}`),
    )
}
