import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch } from '../../../session-pgsql-server/test/console/browser.ts'
import { startExample } from './example-process.ts'
import { GRACE, LAPTOP, PHONE, signIn } from './shop-users.ts'

/** Takes the screenshot of examples/shop/README.md: `npx tsx test/examples/screenshots.ts` */

const FOLDER = process.argv[2] ?? join(import.meta.dirname, '../../../../docs/images')

const home = mkdtempSync(join(tmpdir(), 'session-pgsql-shop-'))
const shop = await startExample('shop', home)
const browser = await launch()
const open = (userAgent: string) =>
  browser.newPage({ userAgent, viewport: { width: 800, height: 600 }, colorScheme: 'light' })
await signIn(await open(PHONE), shop.url, GRACE)
const page = await open(LAPTOP)
await signIn(page, shop.url, GRACE)
await page.screenshot({ path: `${FOLDER}/shop-account-desktop-light.png`, fullPage: true })
await browser.close()
await shop.end('SIGTERM')
rmSync(home, { recursive: true, force: true })
