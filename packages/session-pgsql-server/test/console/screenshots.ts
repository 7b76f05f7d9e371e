import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { launch } from './browser.ts'
import { startDemoConsole } from './demo-console.ts'

/** Takes the screenshots of docs/console.md with made-up data: `npx tsx test/console/screenshots.ts` */

const FOLDER = process.argv[2] ?? fileURLToPath(new URL('../../../../docs/images', import.meta.url))
const DEVICES = { desktop: { width: 1280, height: 860 }, phone: { width: 360, height: 740 } }

const demo = await startDemoConsole()
const locked = await startDemoConsole({ me: { signedIn: false, signInWith: 'password' } })
const browser = await launch()
for (const [device, viewport] of Object.entries(DEVICES)) {
  for (const colorScheme of ['light', 'dark'] as const) {
    const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' })
    const page = await context.newPage()
    await take(page, `${device}-${colorScheme}`, device === 'phone')
    await context.close()
  }
}
await browser.close()
demo.stop()
locked.stop()

async function take(page: Page, suffix: string, short: boolean): Promise<void> {
  const shot = (name: string, fullPage = !short) =>
    page.screenshot({ path: `${FOLDER}/console-${name}-${suffix}.png`, fullPage })
  await page.goto(demo.url)
  await page.locator('.server').first().waitFor()
  await page.locator('canvas').nth(3).waitFor()
  await page.waitForTimeout(500)
  await shot('overview')
  await page.getByRole('radio', { name: 'by cookie name' }).check()
  await page.locator('canvas').nth(5).waitFor()
  await page.evaluate('scrollTo(0, document.getElementById("charts").getBoundingClientRect().top - 20)')
  await page.waitForTimeout(500)
  await shot('names', false)
  await page.goto(`${demo.url}#/sessions`)
  for (const row of [1, 2]) await page.locator('.sessions tbody input').nth(row).check()
  await shot('sessions', false)
  await page.getByRole('button', { name: /End selected/ }).click()
  await page.getByRole('dialog').waitFor()
  await shot('question', false)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.locator('a.id').nth(2).click()
  await page.getByRole('button', { name: 'Show data' }).click()
  await page.locator('.tree').waitFor()
  await shot('session')
  await page.goto(`${demo.url}#/audit`)
  await page.locator('table').waitFor()
  await shot('audit', false)
  await page.goto(locked.url)
  await page.getByLabel('Password').waitFor()
  await shot('sign-in', false)
}
