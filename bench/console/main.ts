import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Browser, chromium, type Page } from 'playwright-core'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'
import type { Program } from '../../packages/session-pgsql-server/test/php/kit/program.ts'
import { withCleanup } from '../cleanup.ts'
import { BenchDatabase } from '../database.ts'
import { findProgram } from '../programs.ts'
import { startServer } from '../server.ts'
import { sessionId } from '../sessions.ts'
import { quantile } from '../statistics.ts'

/**
 * Measures the console with millions of sessions: the time of each request, the time until a browser has drawn each
 * page, and the statements that PostgreSQL logs as slow.
 */

const HELP = `Usage:
  npm run bench:console -- [OPTION]...

Options:
  --rows N    sessions in the table (default: 10000000, which takes about 10 GB of
              disk and ten minutes)
  --rounds N  requests of each kind (default: 7)
  --limit MS  time limit of every page, statement and request but the first
              (default: 300)
  --help      show this help, then exit`

/** application_name of the console, to distinguish its statements from those that fill the table. */
const APPLICATION = 'console_bench'

/** One of this many sessions has a user, an address and errors. */
const MARKED_INTERVAL = 1000

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '10000000' },
      rounds: { type: 'string', default: '7' },
      limit: { type: 'string', default: '300' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(HELP)
  const [rows, rounds, limit] = [values.rows, values.rounds, values.limit].map(Number) as [
    number,
    number,
    number,
  ]
  await withCleanup(async (onCleanup) => {
    const postgres = await startPostgres({
      version: '18',
      settings: {
        max_wal_size: '8GB',
        log_min_duration_statement: String(limit),
        log_line_prefix: '%a|',
      },
    })
    onCleanup(() => postgres.remove())
    const database = await BenchDatabase.create(postgres)
    onCleanup(() => database.drop())
    console.error(`filling ${rows} rows`)
    await database.fillSessions({ sessions: rows, bytes: 500, expired: Math.floor(rows / 10) })
    await database.query(
      `UPDATE php_session SET sess_custom = 'user-' || md5(sess_id), sess_addr_modified = '192.0.2.7', sess_error = 3,
         sess_err_message = 'disk full', sess_name = 'shop'
       WHERE sess_id IN (SELECT md5(n::text) FROM generate_series(0, $1::int - 1, $2::int) n)`,
      [rows, MARKED_INTERVAL],
    )
    await database.query('VACUUM (ANALYZE) php_session')

    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-console-'))
    onCleanup(() => rm(folder, { recursive: true, force: true }))
    const { host, port, user, database: name } = database.connection
    const db = `host=${host} port=${port} user=${user} dbname=${name} application_name=${APPLICATION}`
    const server = await startServer(['console', '--db', db, '--audit-file', join(folder, 'audit.log')])
    onCleanup(() => server.stop())
    const url = `http://127.0.0.1:${server.port}`
    const token = await tokenOf(server)
    const cookie = await signIn(url, token)
    const ask = (path: string): Promise<Response> => fetch(`${url}/api/${path}`, { headers: { cookie } })

    const slow: string[] = []
    const judge = (label: string, milliseconds: number): string => {
      if (milliseconds > limit) slow.push(label)
      return milliseconds > limit ? 'MISSED' : ''
    }
    console.log('\nrequests: milliseconds of the first, and the median and maximum of the others')
    for (const [label, path] of await requestsTo(ask)) {
      const times: number[] = []
      for (let round = 0; round < rounds; round++) {
        const started = performance.now()
        const { status } = await ask(path).then(async (response) => {
          await response.text()
          return response
        })
        if (status >= 500) throw new Error(`${path}: ${status}`)
        times.push(performance.now() - started)
      }
      const [first = 0, ...others] = times
      others.sort((one, other) => one - other)
      const maximum = others.at(-1) ?? 0
      console.log(row(label, [first, quantile(others, 0.5), maximum], judge(label, maximum)))
    }

    const executablePath = findProgram('chromium')
    if (executablePath === undefined) console.log('\nChromium is not installed: pages are not measured')
    else {
      const browser = await chromium.launch({
        executablePath,
        args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
      })
      onCleanup(() => browser.close())
      console.log('\npages in Chromium: milliseconds until the response is drawn, median and maximum')
      for (const [label, times] of await pages(browser, `${url}/#token=${token}`, rounds)) {
        times.sort((one, other) => one - other)
        const maximum = times.at(-1) ?? 0
        console.log(row(label, [quantile(times, 0.5), maximum], judge(label, maximum)))
      }
    }

    const logged = postgres
      .log()
      .split('\n')
      .filter((line) => line.startsWith(`${APPLICATION}|`) && /duration: /.test(line))
    console.log(`\nstatements of the console longer than ${limit} ms in PostgreSQL's log: ${logged.length}`)
    for (const line of logged) console.log(line.slice(0, 300))
    if (slow.length > 0) console.log(`longer than ${limit} ms: ${slow.join('; ')}`)
    process.exitCode = slow.length + logged.length > 0 ? 1 : 0
  })
}

/** Returns the token of the URL that the console prints. */
async function tokenOf(server: Program): Promise<string> {
  for (;;) {
    const [, token] = /#token=(\S+)/.exec(server.output()) ?? []
    if (token !== undefined) return token
    if (!server.running()) throw new Error(`The console has ended: ${server.output()}`)
    await sleep(10)
  }
}

/** Returns the header Cookie of an operator. */
async function signIn(url: string, token: string): Promise<string> {
  const response = await fetch(`${url}/api/sign-in`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ password: token }),
  })
  if (response.status !== 204) throw new Error(`sign-in: ${response.status}`)
  return response.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';', 1)[0])
    .join('; ')
}

type Ask = (path: string) => Promise<Response>

/** Returns the requests, by a label and the path. */
async function requestsTo(ask: Ask): Promise<readonly (readonly [label: string, path: string])[]> {
  const user = `user-${await markedUser(ask)}`
  const after = async (pages: number): Promise<string> => {
    let next = ''
    for (let page = 0; page < pages; page++) {
      const answer = await ask(`sessions?limit=200${next}`)
      next = `&after=${encodeURIComponent(((await answer.json()) as { next: string }).next)}`
    }
    return next
  }
  return [
    ['overview', 'overview'],
    ['history of an hour', 'history?minutes=60'],
    ['history of a day', 'history?minutes=1440'],
    ['sessions, the first page', 'sessions?limit=200'],
    ['sessions, the 22nd page', `sessions?limit=200${await after(21)}`],
    ['sessions, the last page', 'sessions?limit=200&order=-id'],
    ['sessions of a common cookie name', 'sessions?name=connect.sid'],
    ['sessions of a rare cookie name (1 in 1,000)', 'sessions?name=shop'],
    ['sessions of a cookie name without sessions', 'sessions?name=nobody'],
    ['by id prefix', 'sessions?by=id&q=ab'],
    ['by field', `sessions?by=field&q=${user}`],
    ['by field, in the order of the last write', `sessions?by=field&q=${user}&order=-modified`],
    ['by address', 'sessions?by=address&q=192.0.2.7'],
    ['by an address without sessions', 'sessions?by=address&q=192.0.2.8'],
    ['by an error', 'sessions?by=error&q=disk%20full'],
    ['by an error without sessions', 'sessions?by=error&q=no%20such'],
    ['in an order without an index', 'sessions?order=-errors'],
    ['one session', `session?id=${sessionId(1)}`],
    ['count of a field', `count?field=${user}`],
    ['count of sessions due for garbage collection', 'gc'],
    ['audit', 'audit'],
  ]
}

async function markedUser(ask: Ask): Promise<string> {
  const answer = await ask(`session?id=${sessionId(0)}`)
  const { field } = (await answer.json()) as { field: string }
  return field.replace('user-', '')
}

/** Opens each page from another one, as by a click, and waits until the response is drawn. */
async function pages(
  browser: Browser,
  url: string,
  rounds: number,
): Promise<(readonly [label: string, milliseconds: number[]])[]> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
  await page.goto(url)
  await page.getByText('live', { exact: true }).waitFor()
  const targets: readonly (readonly [label: string, hash: string, waitsFor: RegExp | undefined])[] = [
    ['overview', '#/overview', undefined],
    ['sessions', '#/sessions', /api\/sessions/],
    ['sessions by address', '#/sessions?by=address&q=192.0.2.7', /api\/sessions/],
    ['sessions by an error without sessions', '#/sessions?by=error&q=no+such', /api\/sessions/],
    ['one session', `#/session?id=${sessionId(1)}`, /api\/session\?/],
    ['audit', '#/audit', /api\/audit/],
  ]
  const results = []
  for (const [label, hash, waitsFor] of targets) {
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      await go(page, hash === '#/audit' ? '#/overview' : '#/audit', undefined)
      times.push(await go(page, hash, waitsFor))
    }
    results.push([label, times] as const)
  }
  await page.close()
  return results
}

async function go(page: Page, hash: string, waitsFor: RegExp | undefined): Promise<number> {
  const started = performance.now()
  const answered = waitsFor && page.waitForResponse((response) => waitsFor.test(response.url()))
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`)
  await (await answered)?.finished()
  await page.evaluate('new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))')
  return performance.now() - started
}

function row(label: string, milliseconds: readonly number[], verdict: string): string {
  const columns = milliseconds.map((one) => one.toFixed(0).padStart(6))
  return `  ${label.padEnd(48)}${columns.join('')}  ${verdict}`.trimEnd()
}

await main()
