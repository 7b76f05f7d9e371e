import { existsSync } from 'node:fs'
import axe from 'axe-core'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/** A real browser: the system's Chromium, driven by playwright-core. */

export type { Page }

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable() as string,
    // Containers lack user namespaces, which the sandbox needs. The other flags prevent requests to other hosts.
    args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
  })
}

function executable(): string | undefined {
  const configured = process.env.CHROMIUM
  return (configured === undefined ? PATHS : [configured]).find((path) => existsSync(path))
}

export interface BrowserTests {
  /**
   * Opens a page in a new browser profile. After the suite no page may have logged an error or a warning, thrown, or
   * sent a request to another host.
   */
  page(options?: BrowserContextOptions): Promise<Page>
  /** Allows problems that the tests expect, such as requests that fail while a server is down. */
  allow(pattern: RegExp): void
}

/** Runs a suite with a browser. Without Chromium the suite is skipped with a message. */
export function describeInBrowser(name: string, suite: (browser: BrowserTests) => void): void {
  describe(name, () => {
    if (executable() === undefined) {
      const missing = `Chromium is not installed (looked for ${process.env.CHROMIUM ?? PATHS.join(', ')})`
      test(`needs a browser: ${missing}`, (ctx) => ctx.skip(missing))
      return
    }
    let browser: Browser
    let problems: string[] = []
    let allowed: RegExp[] = []
    // Registered first, so it runs last: a hook that throws keeps vitest from running the others, which end processes.
    afterAll(() => {
      const unexpected = problems.filter((problem) => !allowed.some((pattern) => pattern.test(problem)))
      problems = []
      allowed = []
      expect(unexpected).toEqual([])
    })
    beforeAll(async () => {
      browser = await launch()
    })
    afterAll(() => browser?.close())
    suite({
      async page(options = {}) {
        const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
        const page = await context.newPage()
        page.on('console', (message) => {
          if (['error', 'warning'].includes(message.type())) problems.push(message.text())
        })
        page.on('pageerror', (error) => problems.push(error.message))
        page.on('request', (request) => {
          const { hostname, protocol } = new URL(request.url())
          const local = hostname === '127.0.0.1' || hostname === 'localhost' || protocol === 'data:'
          if (!local) problems.push(`request to another host: ${request.url()}`)
        })
        return page
      },
      allow: (pattern) => allowed.push(pattern),
    })
  })
}

interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary: string }[]
}

/** Returns the accessibility problems that axe rates worse than minor, one line each. */
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
