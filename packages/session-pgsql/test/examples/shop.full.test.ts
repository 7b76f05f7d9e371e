import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  accessibilityProblems,
  describeInBrowser,
  type Page,
} from '../../../session-pgsql-server/test/console/browser.ts'
import { describeOnEveryServer } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { EXAMPLES, type ExampleCommand, type ExampleProcess, startExample } from './example-process.ts'
import { ADA, GRACE, LAPTOP, PHONE, signIn } from './shop-users.ts'

/** The shop of examples/shop as `npm start` starts it: on the embedded database and on the built package. */

function homeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-shop-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('the tables and the trigger of the shop are those that the command prints', () => {
  const cwd = join(EXAMPLES, 'shop')
  const printed = execFileSync('npm', ['run', '--silent', 'print-schema'], { cwd, encoding: 'utf8' })
  const committed = readFileSync(join(cwd, 'sql/sessions.sql'), 'utf8')
  expect(committed).toContain('CREATE TRIGGER')
  expect(printed.slice(0, committed.length)).toBe(committed)
})

describeInBrowser('the shop', (browser) => {
  const folder = homeFolder()
  let shop: ExampleProcess
  beforeAll(async () => {
    shop = await startExample('shop', folder)
  })
  afterAll(async () => {
    await shop?.end('SIGKILL')
  })

  // The restart cuts the connections of open pages.
  browser.allow(/net::ERR_/)

  async function open(page: Page, path: string): Promise<void> {
    await page.goto(shop.url + path)
  }

  async function visitor(userAgent = LAPTOP): Promise<Page> {
    const page = await browser.page({ userAgent })
    await open(page, '/')
    return page
  }

  /** Adds a book, and waits until the header shows the number of books in the cart. */
  async function add(page: Page, title: string, inCart: number): Promise<void> {
    await open(page, '/')
    await page.getByRole('button', { name: `Add to cart: ${title}` }).click()
    await page.getByRole('link', { name: `Cart (${inCart})` }).waitFor()
  }

  async function devices(page: Page): Promise<string[]> {
    await open(page, '/account')
    return page.locator('.rows li div > :not(p)').allTextContents()
  }

  async function deleteAccount(page: Page, password: string): Promise<void> {
    await page.getByLabel('Your password').fill(password)
    await page.getByRole('button', { name: 'Delete account' }).click()
  }

  /** The rows of the query that joins users and sessions: name, devices, books in carts. */
  async function signedIn(page: Page): Promise<string[][]> {
    await open(page, '/signed-in')
    const rows = await page.locator('tbody tr').all()
    return Promise.all(rows.map(async (row) => (await row.locator('td').allTextContents()).slice(0, 3)))
  }

  async function expectSignedOut(page: Page): Promise<void> {
    await open(page, '/account')
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    expect(await page.getByRole('navigation').textContent()).toBe('Cart (0)Sign in')
  }

  test('a user sees two devices and ends one; deleting the account ends both, and the joined query follows', async () => {
    const [laptop, phone, admin] = [await visitor(), await visitor(PHONE), await visitor()]
    await signIn(admin, shop.url, ADA)
    await add(laptop, 'Emma', 1)
    await signIn(laptop, shop.url, GRACE)
    await add(laptop, 'Emma', 2)
    await signIn(phone, shop.url, GRACE)
    await add(phone, 'Walden', 1)
    expect(await signedIn(admin)).toEqual([
      ['Ada', '1', '0'],
      ['Grace', '2', '3'],
    ])

    expect(await devices(phone)).toEqual(['Mobile Safari on iOS', 'this device', 'Firefox on Windows'])
    expect(await devices(laptop)).toEqual(['Mobile Safari on iOS', 'Firefox on Windows', 'this device'])
    const row = laptop.locator('.rows li', { hasText: 'Mobile Safari' })
    await row.getByRole('button', { name: 'Sign out' }).click()
    await row.waitFor({ state: 'detached' })
    await expectSignedOut(phone)
    expect(await signedIn(admin)).toContainEqual(['Grace', '1', '2'])

    await signIn(phone, shop.url, GRACE)
    expect(await devices(laptop)).toHaveLength(3)
    await deleteAccount(laptop, 'a wrong password')
    await laptop.getByText('The password is wrong.').waitFor()
    expect(await devices(phone)).toHaveLength(3)

    await open(laptop, '/account')
    await deleteAccount(laptop, GRACE.password)
    await laptop.getByRole('heading', { name: 'Books' }).waitFor()
    await expectSignedOut(laptop)
    await expectSignedOut(phone)
    expect(await signedIn(admin)).toEqual([['Ada', '1', '0']])
  })

  test('the login changes the id and keeps the cart, in a cookie that no script can read', async () => {
    const page = await visitor()
    await add(page, 'Emma', 1)
    const [before] = await page.context().cookies()
    await signIn(page, shop.url, ADA)
    const [after, ...others] = await page.context().cookies()
    expect(after).toMatchObject({ name: 'sid', httpOnly: true, sameSite: 'Lax', path: '/' })
    expect(after?.value).not.toBe(before?.value)
    expect(others).toEqual([])
    expect(await page.getByRole('navigation').textContent()).toBe('Cart (1)Ada')
  })

  test('a visitor is told that the password is wrong, and is not signed in', async () => {
    const page = await visitor()
    for (const email of [ADA.email, 'nobody@example.com']) {
      await open(page, '/sign-in')
      await page.getByLabel('Email address').fill(email)
      await page.getByLabel('Password').fill('a guess')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByText('The email address or the password is wrong.').waitFor()
    }
    await expectSignedOut(page)
  })

  test('a form of another site adds nothing', async () => {
    const page = await visitor()
    await add(page, 'Emma', 1)
    const [cookie] = await page.context().cookies()
    const fields: [string, string][] = await page.evaluate('[...new FormData(document.forms[0])]')
    const submit = async (origin: string): Promise<number> => {
      const body = new FormData()
      for (const [name, value] of fields) body.set(name, value)
      const headers = { origin, cookie: `sid=${cookie?.value}` }
      return (await fetch(shop.url, { method: 'POST', headers, body })).status
    }
    expect(await submit('https://other.example')).toBe(500)
    await open(page, '/')
    expect(await page.getByRole('navigation').textContent()).toContain('Cart (1)')
    expect(await submit(shop.url)).toBe(200)
    await open(page, '/')
    expect(await page.getByRole('navigation').textContent()).toContain('Cart (2)')
  })

  test('the pages have no accessibility problems', async () => {
    const page = await visitor()
    await open(page, '/sign-in')
    expect(await accessibilityProblems(page)).toEqual([])
    await signIn(page, shop.url, ADA)
    await add(page, 'Emma', 1)
    for (const path of ['/', '/cart', '/account', '/signed-in']) {
      await open(page, path)
      expect(await accessibilityProblems(page)).toEqual([])
    }
  })

  test('users stay signed in when the shop is restarted', async () => {
    const page = await visitor()
    await signIn(page, shop.url, ADA)
    const cookies = await page.context().cookies()
    const output = await shop.end('SIGINT')
    expect(output).toContain(GRACE.password)
    expect(output).not.toMatch(/warning/i)
    shop = await startExample('shop', folder)
    const restarted = await visitor()
    await restarted.context().addCookies(cookies)
    await open(restarted, '/account')
    await restarted.getByRole('heading', { name: 'Account of Ada' }).waitFor()
    expect(await shop.end('SIGTERM')).not.toMatch(/warning|error/i)
  })
})

describeOnEveryServer(
  'the shop as two processes with DATABASE_URL',
  (server) =>
    describeInBrowser('in a browser', (browser) => {
      const folder = homeFolder()
      const processes: ExampleProcess[] = []
      afterAll(async () => {
        for (const shop of processes) await shop.end('SIGKILL')
      })

      test('what two tabs add to the cart at the same time is all there', async () => {
        const database = await server.freshDatabase()
        const start = async (name: string, command?: ExampleCommand): Promise<ExampleProcess> => {
          const url = new URL(database.db as string)
          url.searchParams.set('application_name', name)
          const shop = await startExample('shop', folder, { command, env: { DATABASE_URL: url.href } })
          processes.push(shop)
          return shop
        }
        const one = await start('one')
        const two = await start('two', [process.execPath, 'main.js'])
        const page = await browser.page()
        const add = (tab: Page) => tab.getByRole('button', { name: 'Add to cart: Emma' }).click()
        await page.goto(one.url)
        await add(page)
        await page.getByRole('link', { name: 'Cart (1)' }).waitFor()
        const tab = await page.context().newPage()
        await tab.goto(two.url)
        // Each tab has added before: its page is ready, and its process has connected.
        await add(tab)
        await tab.getByRole('link', { name: 'Cart (2)' }).waitFor()

        // Reads pass the lock. So each process has read the session before the other one can write it.
        const lock = new pg.Client({ connectionString: database.db as string })
        await lock.connect()
        try {
          await lock.query('BEGIN; LOCK TABLE php_session IN SHARE MODE')
          await Promise.all([add(page), add(tab)])
          const waiting = `SELECT DISTINCT application_name FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'`
          await until(async () => (await database.query(waiting)).length === 2, 'both processes to write')
        } finally {
          await lock.end()
        }
        for (const { url } of [one, two]) {
          await page.goto(url)
          await page.getByRole('link', { name: 'Cart (4)' }).waitFor()
        }
      })
    }),
  ['postgres'],
)
