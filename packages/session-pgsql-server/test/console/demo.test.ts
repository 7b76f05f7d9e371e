import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { describeInBrowser } from './browser.ts'

/** What `npm run demo` starts, from what was built: the site and its console, in one process. */

const DEMO = fileURLToPath(new URL('../../../../examples/demo/main.js', import.meta.url))

describeInBrowser('the demo', (surfing) => {
  let demo: ChildProcess | undefined
  let folder: string | undefined
  afterEach(async () => {
    if (demo !== undefined && demo.exitCode === null) {
      demo.kill('SIGTERM')
      await once(demo, 'exit')
    }
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  // The site has no icon; and in the end the console's page loses its console.
  surfing.forgive(/Failed to load resource/)

  test('its button makes traffic, and the charts of the console move', async () => {
    folder = await mkdtemp(join(tmpdir(), 'session-pgsql-demo-'))
    const env = { ...process.env, DEMO_FOLDER: join(folder, 'data'), PORT: '0', CONSOLE_PORT: '0' }
    demo = spawn(process.execPath, [DEMO], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [demo.stdout, demo.stderr]) stream?.on('data', (piece) => (said += piece))
    const place = (pattern: RegExp) =>
      until(() => {
        if (demo?.exitCode !== null) throw new Error(said)
        return pattern.exec(said)?.[1]
      }, `${pattern} in what the demo says`)
    const site = await place(/demo: (http:\S+)/)
    const operators = await place(/The console: (http:\S+)/)

    const visitor = await surfing.page()
    await visitor.goto(site)
    const console = await surfing.page()
    await console.goto(operators)
    await console.locator('canvas').nth(3).waitFor()
    const figure = async (name: string): Promise<number> => {
      const text = await console.locator('.figure', { hasText: name }).locator('.big').textContent()
      return Number(text?.replaceAll(/[^\d.]/g, ''))
    }
    const before = await figure('Created')
    await visitor.getByRole('button', { name: 'Make traffic' }).click()
    await visitor.getByRole('button', { name: 'Traffic is running' }).waitFor()
    await until(
      async () => (await figure('Created')) >= before + 10,
      'sessions that begin, in figures',
      60_000,
    )
    await until(async () => (await figure('Accesses')) > 0, 'accesses, in figures', 60_000)
    const chart = console.getByRole('img', { name: /^Chart: Sessions\./ })
    await until(
      async () => {
        const [, low = '0', high = '0'] =
          /([\d,]+) to ([\d,]+) in this time/.exec((await chart.getAttribute('aria-label')) ?? '') ?? []
        return Number(high.replaceAll(',', '')) - Number(low.replaceAll(',', '')) >= 10
      },
      'a line that goes up',
      60_000,
    )
    expect(demo.exitCode).toBeNull()
  })
})
