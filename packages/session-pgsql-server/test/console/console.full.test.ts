import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Locator, Page } from 'playwright-core'
import { SaveHandler } from 'session-pgsql'
import { afterEach, expect, test } from 'vitest'
import { connectPool, queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { startPostgres } from '../../../session-pgsql/test/support/postgres.ts'
import { usePostgres } from '../../../session-pgsql/test/support/servers.ts'
import { promote, startStandby } from '../../../session-pgsql/test/support/standby.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { accessibilityProblems, describeInBrowser } from './browser.ts'
import { consoles, OPERATOR, tokenOf } from './kit.ts'

/** The whole console: a real browser, the built page, PostgreSQL, and the demo's site as the writer of sessions. */

const SITE = fileURLToPath(new URL('../../../../examples/demo/site.js', import.meta.url))

describeInBrowser('the console in a browser', (browser) => {
  const one = usePostgres({ version: '18', settings: { fsync: 'off' } })
  const other = usePostgres({ version: '18', settings: { fsync: 'off' } })
  const start = consoles()
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
  // Browsers log every failed request, and some tests cause such requests.
  browser.allow(
    /Failed to load resource|blocked by CORS policy|Refused to display|violates the following Content Security Policy directive: "frame-ancestors/,
  )

  async function startSite(url: string): Promise<string> {
    const pool = connectPool(url)
    const { createSite } = await import(SITE)
    const { app, handler } = createSite(pool)
    const server = createServer(app).listen(0, '127.0.0.1')
    await new Promise((done) => server.once('listening', done))
    closing.push(
      () => pool.end(),
      () => handler.close(),
      async () => {
        server.close()
        server.closeAllConnections()
      },
    )
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  }

  async function visitor(site: string, name: string): Promise<Page> {
    const page = await browser.page()
    await page.goto(site)
    await page.getByLabel('Name').fill(name)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText(`Signed in as ${name}`).waitFor()
    return page
  }

  /** @param url as the console prints it */
  async function operator(url: string, colorScheme: 'light' | 'dark' = 'light'): Promise<Page> {
    const page = await browser.page({ colorScheme })
    await page.goto(url)
    return page
  }

  async function signIn(page: Page, label: 'Password' | 'Token', secret: string): Promise<void> {
    await page.getByLabel(label).fill(secret)
    await page.getByRole('button', { name: 'Sign in' }).click()
  }

  async function expectAccessible(page: Page): Promise<void> {
    expect(await accessibilityProblems(page)).toEqual([])
    await page.getByRole('button', { name: 'Switch to dark theme' }).click()
    expect(await accessibilityProblems(page)).toEqual([])
    await page.getByRole('button', { name: 'Switch to light theme' }).click()
  }

  const waitForCount = (page: Page, selector: string, count: number) =>
    until(async () => (await page.locator(selector).count()) === count, `${count} of ${selector}`, 60_000)

  async function search(page: Page, by: string, text: string): Promise<void> {
    await page.getByRole('link', { name: 'Sessions' }).first().click()
    await page.getByLabel('Search by').selectOption(by)
    await page.getByRole('searchbox').fill(text)
    await page.getByRole('searchbox').press('Enter')
  }

  test('lists a new session, finds it, shows its data and ends it, which signs out its user', async () => {
    const site = await startSite(one().url())
    const { url } = await start({ db: one().url() }, { passwords: { operator: OPERATOR, reader: undefined } })
    const ada = await visitor(site, 'ada')

    const page = await operator(url)
    await signIn(page, 'Password', 'a guess')
    await page.getByText('Wrong password.').waitFor()
    await expectAccessible(page)
    await signIn(page, 'Password', OPERATOR)
    await page.getByRole('link', { name: 'connect.sid' }).waitFor()
    await page.getByText('live', { exact: true }).waitFor()
    await page.locator('canvas').first().waitFor()
    await expectAccessible(page)

    await search(page, 'field', 'ada')
    await page.getByText('1 session', { exact: true }).waitFor()
    await expectAccessible(page)
    await page.locator('.sessions a.id').click()
    const data = page.getByText('"ada"')
    await page.getByText('The audit log records each view.').waitFor()
    expect(await data.count()).toBe(0)
    await page.getByRole('button', { name: 'Show data' }).click()
    await data.waitFor()
    await expectAccessible(page)

    await page.getByRole('button', { name: 'End this session' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'End session' }).click()
    await page.getByText('1 session ended.').waitFor()
    await page.getByText('There is no such session').waitFor()
    await ada.reload()
    await ada.getByText('You are not signed in').waitFor()

    await page.getByRole('link', { name: 'Audit log' }).click()
    for (const act of ['Ended sessions', 'Viewed data', 'Signed in', 'Sign-in failed']) {
      await page.getByRole('cell', { name: act }).waitFor()
    }
    await expectAccessible(page)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Password').waitFor()
  })

  test('ends all sessions of one user and leaves those of other users', async () => {
    const site = await startSite(one().url())
    const { url } = await start({ db: one().url() })
    const [phone, desk, other] = [
      await visitor(site, 'grace'),
      await visitor(site, 'grace'),
      await visitor(site, 'linus'),
    ]
    const page = await operator(url)
    await search(page, 'field', 'grace')
    await page.getByRole('button', { name: 'End all sessions with this field' }).click()
    const dialog = page.getByRole('dialog', { name: 'End all 2 sessions with this field?' })
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    await phone.reload()
    await phone.getByText('Signed in as grace').waitFor()

    await page.getByRole('button', { name: 'End all sessions with this field' }).click()
    await dialog.getByRole('button', { name: 'End 2 sessions' }).click()
    await page.getByText('2 sessions ended.').waitFor()
    await page.getByText('No sessions match the search.').waitFor()
    for (const device of [phone, desk]) {
      await device.reload()
      await device.getByText('You are not signed in').waitFor()
    }
    await other.reload()
    await other.getByText('Signed in as linus').waitFor()
  })

  test('ends all sessions of all users once the user confirms it', async () => {
    const { port, url, sessions } = await start({ db: one().url() }, { handler: { table: 'all_ended' } })
    for (let n = 0; n < 3; n++) await sessions.write(sessions.createId(), { n })
    const page = await operator(url)
    await page.goto(`http://127.0.0.1:${port}/#/sessions`)
    const button = page.getByRole('button', { name: 'End all sessions' })
    const dialog = page.getByRole('dialog', { name: 'End all sessions of all users?' })
    await button.click()
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    expect(await sessions.count()).toBeGreaterThanOrEqual(3)
    await button.click()
    await dialog.getByRole('button', { name: 'End all sessions' }).click()
    await page.getByText('3 sessions ended.').waitFor()
    expect(await sessions.count()).toBe(0)
  })

  test('ends the selected sessions and runs GC', async () => {
    const { port, url, sessions } = await start({ db: one().url() }, { handler: { table: 'selected' } })
    const ids = Array.from({ length: 5 }, () => sessions.createId())
    for (const id of ids) await sessions.write(id, { id })
    await queryOnce(
      one().conninfo(),
      `INSERT INTO selected (sess_id, sess_data, sess_expire) SELECT 'old' || n, '{}', 1 FROM generate_series(1, 3) n`,
    )
    // Expired ten minutes ago, but GC is due for it in the next hour.
    await queryOnce(
      one().conninfo(),
      `INSERT INTO selected (sess_id, sess_data, sess_expire, sess_sweep)
       SELECT 'zzz', '{}', now - 600, now + 3000 FROM (SELECT extract(epoch FROM now())::bigint AS now) AS clock`,
    )
    const page = await operator(url)
    await page.goto(`http://127.0.0.1:${port}/#/sessions`)
    for (const id of ids.slice(0, 3)) {
      await page.getByRole('checkbox', { name: `Select ${id.slice(0, 8)}` }).check()
    }
    await page.getByRole('button', { name: 'End selected (3)' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'End 3 sessions' }).click()
    await page.getByText('3 sessions ended.').waitFor()
    await waitForCount(page, '.sessions a.id', 2)
    expect(await sessions.read(ids[3] as string)).toBeDefined()

    await page.getByRole('link', { name: 'Overview' }).click()
    const run = page.getByRole('button', { name: 'Run GC' })
    const dialog = page.getByRole('dialog', { name: 'Remove 3 expired sessions?' })
    const left = async () =>
      (await queryOnce(one().conninfo(), 'SELECT sess_id FROM selected ORDER BY 1')).map(
        ({ sess_id }) => sess_id,
      )
    await run.click()
    await dialog.getByText('keepExpired').waitFor()
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    expect(await left()).toHaveLength(6)

    // Another process holds GC's lock.
    const sweeper = connectPool(one().url())
    closing.push(() => sweeper.end())
    const holder = await sweeper.connect()
    await holder.query('BEGIN; SELECT FROM selected FOR UPDATE')
    await run.click()
    await dialog.getByRole('button', { name: 'Run GC' }).click()
    await page.getByText(/Busy: other transactions/).waitFor()
    await holder.query('COMMIT')
    holder.release()
    expect(await left()).toHaveLength(6)

    await run.click()
    await dialog.getByRole('button', { name: 'Run GC' }).click()
    await page.getByText('GC removed 3 expired sessions.').waitFor()
    expect(await left()).toEqual([...ids.slice(3), 'zzz'].sort())
    await run.click()
    await page.getByText('No expired session is due').waitFor()
    await page.getByRole('link', { name: 'Audit log' }).click()
    await page
      .getByRole('row', { name: /GC|garbage/i })
      .first()
      .getByText('3', { exact: true })
      .waitFor()
  })

  test('shows that a server goes down and comes up again', async () => {
    const db = `${one().conninfo()};${other().conninfo()}`
    const { url, sessions } = await start({ db }, { handler: { table: 'spread' } })
    await sessions.open()
    for (let n = 0; n < 20; n++) await sessions.write(sessions.createId(), {}, { custom: 'ada' })
    const page = await operator(url)
    await waitForCount(page, '.server.up', 2)
    expect(await page.locator('.server.down').count()).toBe(0)

    await other().stop('immediate')
    await page.locator('.server.down').getByText('down', { exact: true }).waitFor()
    await page.locator('.advice .bad').waitFor()
    await page.locator('.events').getByText(/./).first().waitFor()
    expect(await page.locator('.server.up').count()).toBe(1)
    await expectAccessible(page)

    // A partial failure is shown as one, not as an outage of the database.
    await search(page, 'field', 'ada')
    await page.getByRole('button', { name: 'End all sessions with this field' }).click()
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^End \d+ session/ })
      .click()
    await page.getByRole('alert').getByText(other().port.toString()).waitFor()
    expect(await page.getByText('The database is not responding.').count()).toBe(0)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('link', { name: 'Overview' }).click()

    await other().start()
    await waitForCount(page, '.server.up', 2)
    await page.locator('.advice .bad').waitFor({ state: 'detached' })
  })

  test('shows the metrics in total, by cookie name and by server, in tables and charts', async () => {
    const db = `${one().conninfo()};${other().conninfo()}`
    const { url, sessions } = await start({ db }, { handler: { table: 'grouped' } })
    await sessions.open()
    const page = await operator(url)
    // Sessions from before the first sample do not count as created.
    await page.getByRole('img', { name: /^Chart: Sessions\. sessions: 0 now/ }).waitFor()

    const [shop, forum] = [12, 6].map((count) => Array.from({ length: count }, () => sessions.createId()))
    const [first, second] = [shop?.[0] as string, forum?.[0] as string]
    for (const id of shop ?? []) await sessions.write(id, {}, { name: 'shop' })
    for (const id of forum ?? []) await sessions.write(id, {}, { name: 'forum' })
    for (let n = 0; n < 5; n++) await sessions.touch(second)
    for (const id of shop ?? []) await sessions.touch(id)
    await sessions.addError(first, 'error', 'oh')
    await sessions.addError(first, 'error', 'oh')
    await sessions.addError(second, 'warning', 'hm')

    const table = (name: string) => page.getByRole('region', { name: `${name}, since the console started` })
    const cells = (row: Locator) => row.locator('td').allTextContents()
    const row = (name: string) => table('By cookie name').getByRole('row', { name: new RegExp(`^${name} `) })
    const shows = (name: string, expected: readonly string[]) =>
      until(
        async () => (await cells(row(name))).join() === expected.join(),
        `${name}: ${expected} in the table`,
        60_000,
      )
    // Active sessions, created, ended, accesses, errors, warnings.
    await shows('shop', ['12', '12', '0', '12', '2', '0'])
    await shows('forum', ['6', '6', '0', '5', '0', '1'])
    for (const id of shop?.slice(1, 3) ?? []) await sessions.destroy(id)
    await shows('shop', ['10', '12', '2', '12', '2', '0'])

    const counts = (await sessions.statistics()).map(({ name, table }) => [name, table?.sessions] as const)
    expect(counts.map(([, count]) => count)).not.toContain(0)
    const servers = table('By server').getByRole('row')
    const sum = (rows: readonly string[][], column: number) =>
      rows.reduce((sum, cells) => sum + Number(cells[column]), 0)
    await until(
      async () => {
        const rows = (await Promise.all((await servers.all()).map(cells))).filter((its) => its.length > 0)
        // PostgreSQL's counters lag behind the rows.
        return [0, 1, 2, 4, 5].map((column) => sum(rows, column)).join() === '16,18,2,2,1'
      },
      'the same by server',
      60_000,
    )
    for (const [name, count] of counts) {
      const its = servers.filter({ has: page.getByRole('rowheader', { name: name as string, exact: true }) })
      expect((await cells(its))[0]).toBe(String(count))
    }

    await page.getByRole('radio', { name: 'by cookie name' }).check()
    await page.getByRole('img', { name: /^Chart: Sessions\. forum: 6 now.*shop: 10 now/ }).waitFor()
    for (const [title, name] of [
      ['Created per minute', 'shop'],
      ['Ended per minute', 'shop'],
      ['Accesses per second', 'forum'],
      ['Errors per minute', 'shop'],
      ['Warnings per minute', 'forum'],
    ] as const) {
      const sentence = await page.getByRole('img', { name: `Chart: ${title}` }).getAttribute('aria-label')
      expect(sentence).toMatch(new RegExp(`${name}: [\\d.]+ now, 0 to [\\d.]*[1-9]`))
    }
    expect(await page.locator('canvas').count()).toBe(6)
    await expectAccessible(page)

    // The choice works by keyboard and survives a reload.
    await page.getByRole('radio', { name: 'by cookie name' }).focus()
    await page.keyboard.press('ArrowRight')
    const [name, count] = counts[0] as (typeof counts)[number]
    const byServer = page.getByRole('img', { name: new RegExp(`^Chart: Sessions\\..*${name}: ${count} now`) })
    await byServer.waitFor()
    await page.reload()
    await byServer.waitFor()
    expect(await page.getByRole('radio', { name: 'by server' }).isChecked()).toBe(true)
    await expectAccessible(page)
  })

  test('shows failovers, promotions and GC of another process as events, and shows them again after a restart', async () => {
    // A group whose standby is promoted, and a second server that goes down.
    const first = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    const second = await startStandby(first)
    closing.push(
      () => first.remove(),
      () => second.remove(),
    )
    const group = `host=${first.host},${second.host} port=${first.port},${second.port} dbname=postgres user=postgres target_session_attrs=read-write name=group`
    const db = `${group};${other().conninfo()} name=alone`
    const handler = { table: 'annotated' }
    const site = new SaveHandler({ db, gcInterval: 0, ...handler })
    site.on('error', () => {})
    closing.push(() => site.close())
    const ids = Array.from({ length: 20 }, (_, n) => `id${n}`)
    const write = async (n: number) => {
      for (const id of ids) await site.write(id, { n })
    }
    await write(1)

    const { url, close } = await start({ db }, { handler: { ...handler, createTable: false } })
    let page = await operator(url)
    const expectEvent = (text: string | RegExp) =>
      page.locator('.events').getByText(text).first().waitFor({ timeout: 60_000 })
    await expectEvent('The console started.')

    await other().stop('immediate')
    await write(2)
    await expectEvent('Sessions failed over from alone to group.')
    await other().start()
    await expectEvent(/^\d+ sessions? moved back from group to alone\.$/)
    await until(
      () => second.query("SELECT 1 FROM annotated WHERE sess_id = 'id0'").then(() => true),
      'the standby to have the table',
    )
    await promote(second)
    const [before, now] = [first, second].map(({ host, port }) => `${host}:${port}`)
    await expectEvent(`The primary of group changed from ${before} to ${now}.`)
    await queryOnce(
      second.conninfo(),
      `INSERT INTO annotated (sess_id, sess_data, sess_expire) SELECT 'old' || n, '{}', 1 FROM generate_series(1, 3) n`,
    )
    await until(async () => (await site.gc()) === 3, 'the sweep')
    await expectEvent('GC removed 3 sessions on group.')
    await page.getByRole('row', { name: /group .* 3$/ }).waitFor()
    await expectAccessible(page)

    // Another console, started later.
    await close()
    page = await operator((await start({ db }, { handler: { ...handler, createTable: false } })).url)
    await expectEvent('The console started.')
    for (const text of ['Sessions failed over from alone to group.', 'GC removed 3 sessions on group.'])
      await expectEvent(text)
    await expectEvent(`The primary of group changed from ${before} to ${now}.`)
    await expectEvent(/moved back from group to alone/)
    await page.getByRole('row', { name: /group .* 3$/ }).waitFor()
  })

  test('says on every page that the database is not responding, and recovers', async () => {
    const { port, url, sessions } = await start({ db: other().url() })
    await sessions.write('shown-during-the-outage', {})
    const overview = await operator(url)
    await overview.locator('.server.up').waitFor()
    const list = await operator(url)
    await list.goto(`http://127.0.0.1:${port}/#/sessions`)
    await list.locator('.sessions a.id').first().waitFor()

    await other().stop('immediate')
    for (const page of [overview, list]) {
      await page.getByText('The database is not responding.').first().waitFor({ timeout: 60_000 })
    }
    await overview.locator('.server.down').getByText('down', { exact: true }).waitFor()
    expect(await overview.locator('.server.up').count()).toBe(0)
    const servers = overview.locator('.key-metric', { hasText: 'Servers' })
    await servers.getByText('of 1 up').waitFor()
    expect(await servers.locator('.big').textContent()).toBe('0')
    await expectAccessible(overview)
    // The last known data stays.
    await list.getByText('shown-during-the-outage').waitFor()

    await other().start()
    for (const page of [overview, list]) {
      await page
        .getByText('The database is not responding.')
        .first()
        .waitFor({ state: 'detached', timeout: 60_000 })
    }
    await overview.locator('.server.up').waitFor()
    expect(await overview.locator('.server.down').count()).toBe(0)
  })

  test('signs in with the URL that a console without passwords prints, and removes the token from the address bar', async () => {
    const { port, url, close } = await start({ db: one().url() })
    const token = tokenOf(url) as string
    const page = await operator(url)
    await page.getByText('live', { exact: true }).waitFor()
    expect(page.url()).toBe(`http://127.0.0.1:${port}/`)
    await page.getByRole('link', { name: 'Sessions' }).click()
    await page.goBack()
    expect(page.url()).not.toContain(token)
    // Another browser gets nothing without the token.
    const stranger = await operator(`http://127.0.0.1:${port}/`)
    await stranger.getByText('Open the URL that the console printed').waitFor()
    await expectAccessible(stranger)
    await signIn(stranger, 'Token', 'x'.repeat(32))
    await stranger.getByText('Wrong token.').waitFor()
    await signIn(stranger, 'Token', token)
    await stranger.getByText('live', { exact: true }).waitFor()
    await stranger.getByRole('button', { name: 'Sign out' }).click()
    await stranger.getByLabel('Token').waitFor()

    // After a restart the token is another one, and the old URL leads to the sign-in page.
    await close()
    await start({ db: one().url() }, { port })
    await page.getByLabel('Token').waitFor()
    await page.goto('about:blank')
    await page.goto(url)
    await page.getByLabel('Token').waitFor()
  })

  test('says that the console is not responding, and recovers after its restart', async () => {
    const options = { passwords: { operator: OPERATOR, reader: undefined } }
    const first = await start({ db: one().url() }, options)
    const page = await operator(first.url)
    await signIn(page, 'Password', OPERATOR)
    await page.getByText('live', { exact: true }).waitFor()
    await first.close()
    await page.getByText('The console is not responding.').waitFor()
    const { sessions } = await start({ db: one().url() }, { ...options, port: first.port })
    await page.getByText('The console is not responding.').waitFor({ state: 'detached' })
    await page.getByText('live', { exact: true }).waitFor()
    // The user stays signed in.
    const id = first.sessions.createId()
    await sessions.write(id, {})
    await page.goto(`http://127.0.0.1:${first.port}/#/session?id=${id}`)
    await page.getByRole('button', { name: 'End this session' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'End session' }).click()
    await page.getByText('1 session ended.').waitFor()
    expect(await sessions.read(id)).toBeUndefined()
  })

  test('finds sessions by their last error and by their cookie name', async () => {
    const { url, sessions } = await start({ db: one().url() }, { handler: { table: 'erring' } })
    const [first, second] = [sessions.createId(), sessions.createId()]
    await sessions.write(first, {}, { name: 'shop' })
    await sessions.write(second, {}, { name: 'forum' })
    await sessions.addError(first, 'error', 'Division by 100 % of zero')
    await sessions.addError(second, 'warning', 'The disk is nearly full')
    const page = await operator(url)
    await search(page, 'error', 'of ZERO')
    await page.getByText('1 session', { exact: true }).waitFor()
    expect(await page.locator('.sessions a.id').allTextContents()).toEqual([first])
    await search(page, 'error', 'no such message')
    await page.getByText('No sessions match the search.').waitFor()

    await page.getByRole('link', { name: 'Overview' }).click()
    await page.getByRole('link', { name: 'forum' }).click()
    await page.getByText('1 session', { exact: true }).waitFor()
    expect(await page.locator('.sessions a.id').allTextContents()).toEqual([second])
    await page.locator('.sessions a.id').click()
    await page.getByText('The disk is nearly full').waitFor()
  })

  test.each(['localhost', '127.0.0.1'])(
    'reveals nothing to a page of another site and accepts no change from it, from %s',
    async (host) => {
      const { port, url, sessions } = await start(
        { db: one().url() },
        { handler: { table: 'foreign' }, passwords: { operator: OPERATOR, reader: undefined } },
      )
      const open = await start({ db: one().url() }, { handler: { table: 'foreign' } })
      const id = sessions.createId()
      await sessions.write(id, {}, { custom: 'ada' })
      const server = createServer((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>evil</title>')
      }).listen(0, '127.0.0.1')
      await new Promise((done) => server.once('listening', done))
      closing.push(async () => {
        server.close()
        server.closeAllConnections()
      })
      const page = await operator(url)
      await signIn(page, 'Password', OPERATOR)
      await page.getByText('live', { exact: true }).waitFor()

      // In the same browser profile, with the operator's cookie.
      const evil = await page.context().newPage()
      await evil.goto(`http://${host}:${(server.address() as AddressInfo).port}/`)
      for (const console of [port, open.port]) {
        const leaked = await evil.evaluate(
          async ({ url, id }) => {
            const leaked: string[] = []
            const attempt = (path: string, init: RequestInit = {}) =>
              fetch(url + path, { credentials: 'include', ...init }).then(
                async (response) => leaked.push(await response.text()),
                () => {},
              )
            const body = JSON.stringify({ ids: [id] })
            for (const path of ['api/me', 'api/sessions', 'api/overview', 'api/gc', '']) {
              await attempt(path)
              await attempt(path, { mode: 'no-cors' })
            }
            for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json']) {
              const headers = { 'content-type': type }
              for (const path of ['api/end', 'api/gc', 'api/sign-out']) {
                await attempt(path, { method: 'POST', headers, body })
                await attempt(path, { method: 'POST', headers, body, mode: 'no-cors' })
              }
            }
            // A no-cors response is opaque and its text is empty.
            return leaked.filter((text) => text !== '')
          },
          { url: `http://127.0.0.1:${console}/`, id },
        )
        expect(leaked).toEqual([])
        const framed = evil.waitForResponse((response) => response.url().endsWith('/api/end'))
        await evil.setContent(
          `<form method="post" enctype="text/plain" target="framed" action="http://127.0.0.1:${console}/api/end">
         <input name='{"ids":["${id}"],"x":"' value='"}'><button>Win</button></form><iframe name="framed"></iframe>`,
        )
        await evil.getByRole('button', { name: 'Win' }).click()
        expect((await framed).status()).toBe(403)
      }
      expect(await sessions.read(id)).toBeDefined()
      // The operator is still signed in.
      await page.reload()
      await page.getByText('live', { exact: true }).waitFor()
      await page.getByRole('link', { name: 'Audit log' }).click()
      await page.getByRole('cell', { name: 'Signed in' }).waitFor()
      expect(await page.getByRole('cell', { name: /^Ended|GC|Signed out/ }).count()).toBe(0)
    },
  )

  test('shows everything stored as text, never as HTML', async () => {
    const attack = (what: string) =>
      `"'><img src=x onerror=window.hacked="${what}"><script>window.hacked=1</script>`
    const id = `<svg/onload=window.hacked=1>"'><img/src=x/onerror=window.hacked=2>`
    const { url } = await start({ db: one().url() }, { handler: { table: 'attacked' } })
    const writer = new SaveHandler({ db: one().url(), table: 'attacked', gcInterval: 0 })
    closing.push(() => writer.close())
    await writer.write(
      id,
      { [attack('key')]: attack('value'), list: [attack('item'), { constructor: attack('inner') }] },
      { address: attack('address'), custom: attack('field') },
    )
    await writer.addError(id, 'error', attack('message'))
    // The library refuses such a cookie name, but another writer may not.
    await queryOnce(one().url(), 'UPDATE attacked SET sess_name = $1', [attack('name')])

    const page = await operator(url)
    const asked: string[] = []
    page.on('dialog', (dialog) => {
      asked.push(dialog.message())
      void dialog.dismiss()
    })
    const expectText = async () => {
      // The page's own image and script are the only ones.
      expect(
        await page.locator('img:not(.brand img), #app script, iframe, object, svg[onload]').count(),
      ).toBe(0)
      expect(await page.evaluate('window.hacked')).toBeUndefined()
    }
    await page.getByText(attack('name')).waitFor()
    await expectText()
    await page.getByRole('radio', { name: 'by cookie name' }).check()
    await page.locator('.legend').getByText(attack('name')).first().waitFor()
    await page
      .getByRole('img', { name: attack('name') })
      .first()
      .waitFor()
    await expectText()
    for (const [by, text] of [
      ['id', id.slice(0, 20)],
      ['address', attack('address')],
      ['field', attack('field')],
    ] as const) {
      await search(page, by, text)
      await page.getByText('1 session', { exact: true }).waitFor()
      await expectText()
    }
    await page.getByRole('button', { name: 'End all sessions with this field' }).click()
    await page.getByRole('dialog').getByText(attack('field')).waitFor()
    await expectText()
    await page.getByRole('button', { name: 'Cancel' }).click()

    await page.locator('.sessions a.id').click()
    await page.getByText(attack('message')).waitFor()
    await page.getByText(attack('address')).first().waitFor()
    await page.getByRole('button', { name: 'Show data' }).click()
    await page.getByText(attack('key')).waitFor()
    await page.locator('.tree summary').last().click()
    await page.getByText(JSON.stringify(attack('inner'))).waitFor()
    await expectText()

    await page.getByRole('button', { name: 'End all sessions with this field' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'End 1 session' }).click()
    await page.getByText('1 session ended.').waitFor()
    await page.getByRole('link', { name: 'Audit log' }).click()
    await page
      .getByRole('cell', { name: /onerror/ })
      .first()
      .waitFor()
    await expectText()
    expect(asked).toEqual([])
  })
})
