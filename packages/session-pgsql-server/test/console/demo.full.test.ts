import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { describeInBrowser } from './browser.ts'

/** The process that `npm run demo` starts from the build: the site and its console. */

const DEMO = fileURLToPath(new URL('../../../../examples/demo/main.js', import.meta.url))

describeInBrowser('the demo', (browser) => {
  let demo: ChildProcess | undefined
  let folder: string | undefined
  afterEach(async () => {
    if (demo !== undefined && demo.exitCode === null) {
      demo.kill('SIGTERM')
      await once(demo, 'exit')
    }
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  // The site has no icon, and at the end the page loses its console.
  browser.allow(/Failed to load resource/)

  test('creates traffic by its button, which the charts of the console show', async () => {
    folder = await mkdtemp(join(tmpdir(), 'session-pgsql-demo-'))
    const env = { ...process.env, DEMO_FOLDER: join(folder, 'data'), PORT: '0', CONSOLE_PORT: '0' }
    demo = spawn(process.execPath, [DEMO], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [demo.stdout, demo.stderr]) stream?.on('data', (chunk) => (output += chunk))
    const urlIn = (pattern: RegExp) =>
      until(() => {
        if (demo?.exitCode !== null) throw new Error(output)
        return pattern.exec(output)?.[1]
      }, `${pattern} in the output of the demo`)
    const site = await urlIn(/demo: (http:\S+)/)
    const operators = await urlIn(/The console: (http:\S+)/)

    const visitor = await browser.page()
    await visitor.goto(site)
    const console = await browser.page()
    await console.goto(operators)
    await console.locator('canvas').nth(3).waitFor()
    const metric = async (name: string): Promise<number> => {
      const text = await console.locator('.key-metric', { hasText: name }).locator('.big').textContent()
      return Number(text?.replaceAll(/[^\d.]/g, ''))
    }
    const before = await metric('Created')
    await visitor.getByRole('button', { name: 'Make traffic' }).click()
    await visitor.getByRole('button', { name: 'Traffic is running' }).waitFor()
    await until(
      async () => (await metric('Created')) >= before + 10,
      'created sessions in the key metrics',
      60_000,
    )
    await until(async () => (await metric('Accesses')) > 0, 'accesses in the key metrics', 60_000)
    const chart = console.getByRole('img', { name: /^Chart: Sessions\./ })
    await until(
      async () => {
        const [, low = '0', high = '0'] =
          /([\d,]+) to ([\d,]+) in this period/.exec((await chart.getAttribute('aria-label')) ?? '') ?? []
        return Number(high.replaceAll(',', '')) - Number(low.replaceAll(',', '')) >= 10
      },
      'a rising line',
      60_000,
    )
    expect(demo.exitCode).toBeNull()
  })
})
