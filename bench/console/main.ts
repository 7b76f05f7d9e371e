import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Browser, chromium, type Page } from 'playwright-core'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'
import { withEnds } from '../ends.ts'
import { findProgram } from '../programs.ts'
import { startServer } from '../server.ts'
import { sessionId } from '../sessions.ts'
import { quantile } from '../statistics.ts'
import { BenchDatabase } from '../tables.ts'

/**
 * The console in front of millions of sessions: how long each of its requests takes, how long a browser waits for each
 * of its pages, and which of its statements PostgreSQL's log calls slow.
 */

const HELP = `npm run bench:console -- [options]

  --rows N    sessions in the table (10000000): some 10 GB of disk, ten minutes
  --rounds N  requests of each kind (7)
  --limit MS  that no request but the first, no page and no statement should take longer than (300)`

/** Statements of others, which fill the table, are not the console's. */
const APPLICATION = 'console_bench'

/** Of so many sessions one has a user, an address and errors. */
const MARKED = 1000

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
  await withEnds(async (atEnd) => {
    const postgres = await startPostgres({
      version: '18',
      settings: {
        max_wal_size: '8GB',
        log_min_duration_statement: String(limit),
        log_line_prefix: '%a|',
      },
    })
    atEnd(() => postgres.remove())
    const database = await BenchDatabase.create(postgres)
    atEnd(() => database.drop())
    console.error(`filling ${rows} rows`)
    await database.fillSessions({ sessions: rows, bytes: 500, expired: Math.floor(rows / 10) })
    await database.query(
      `UPDATE php_session SET sess_custom = 'user-' || md5(sess_id), sess_addr_modified = '192.0.2.7', sess_error = 3,
         sess_err_message = 'disk full', sess_name = 'shop'
       WHERE sess_id IN (SELECT md5(n::text) FROM generate_series(0, $1::int - 1, $2::int) n)`,
      [rows, MARKED],
    )
    await database.query('VACUUM (ANALYZE) php_session')

    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-console-'))
    atEnd(() => rm(folder, { recursive: true, force: true }))
    const { host, port, user, database: name } = database.where
    const db = `host=${host} port=${port} user=${user} dbname=${name} application_name=${APPLICATION}`
    const server = await startServer(['console', '--db', db, '--audit-file', join(folder, 'audit.log')])
    atEnd(() => server.stop())
    const at = `http://127.0.0.1:${server.port}`

    const slow: string[] = []
    const judge = (what: string, milliseconds: number): string => {
      if (milliseconds > limit) slow.push(what)
      return milliseconds > limit ? 'MISSED' : ''
    }
    console.log('\nrequests: milliseconds, the first, the median, the worst of the others')
    for (const [what, path] of await requestsTo(at)) {
      const times: number[] = []
      for (let round = 0; round < rounds; round++) {
        const begun = performance.now()
        const { status } = await fetch(`${at}/api/${path}`).then(async (response) => {
          await response.text()
          return response
        })
        if (status >= 500) throw new Error(`${path}: ${status}`)
        times.push(performance.now() - begun)
      }
      const [first = 0, ...others] = times
      others.sort((one, other) => one - other)
      const worst = others.at(-1) ?? 0
      console.log(row(what, [first, quantile(others, 0.5), worst], judge(what, worst)))
    }

    const executablePath = findProgram('chromium')
    if (executablePath === undefined) console.log('\nno Chromium on this machine: no page was looked at')
    else {
      const browser = await chromium.launch({
        executablePath,
        args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
      })
      atEnd(() => browser.close())
      console.log('\npages in Chromium: milliseconds until the answer is drawn, the median and the worst')
      for (const [what, times] of await pages(browser, at, rounds)) {
        times.sort((one, other) => one - other)
        const worst = times.at(-1) ?? 0
        console.log(row(what, [quantile(times, 0.5), worst], judge(what, worst)))
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

/** What can be asked, and as what path. */
async function requestsTo(at: string): Promise<readonly (readonly [what: string, path: string])[]> {
  const user = `user-${await markedUser(at)}`
  const after = async (pages: number): Promise<string> => {
    let next = ''
    for (let page = 0; page < pages; page++) {
      const answer = await fetch(`${at}/api/sessions?limit=200${next}`)
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
    ['sessions of a name that all but a few have', 'sessions?name=connect.sid'],
    ['sessions of a name that one in a thousand has', 'sessions?name=shop'],
    ['sessions of a name that nobody has', 'sessions?name=nobody'],
    ['by the beginning of an id', 'sessions?by=id&q=ab'],
    ['by field', `sessions?by=field&q=${user}`],
    ['by field, in the order of the last write', `sessions?by=field&q=${user}&order=-modified`],
    ['by address', 'sessions?by=address&q=192.0.2.7'],
    ['by an address that nobody has', 'sessions?by=address&q=192.0.2.8'],
    ['by an error', 'sessions?by=error&q=disk%20full'],
    ['by an error that nobody had', 'sessions?by=error&q=no%20such'],
    ['in an order that no index serves', 'sessions?order=-errors'],
    ['one session', `session?id=${sessionId(1)}`],
    ['how many have a field', `count?field=${user}`],
    ['how many are due for garbage collection', 'gc'],
    ['audit', 'audit'],
  ]
}

async function markedUser(at: string): Promise<string> {
  const answer = await fetch(`${at}/api/session?id=${sessionId(0)}`)
  const { field } = (await answer.json()) as { field: string }
  return field.replace('user-', '')
}

/** Each page is gone to from another one, as by a click, until what it has asked for is answered and drawn. */
async function pages(
  browser: Browser,
  at: string,
  rounds: number,
): Promise<(readonly [what: string, milliseconds: number[]])[]> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
  await page.goto(at)
  const looks: readonly (readonly [what: string, hash: string, waitsFor: RegExp | undefined])[] = [
    ['overview', '#/overview', undefined],
    ['sessions', '#/sessions', /api\/sessions/],
    ['sessions by address', '#/sessions?by=address&q=192.0.2.7', /api\/sessions/],
    ['sessions by an error that nobody had', '#/sessions?by=error&q=no+such', /api\/sessions/],
    ['one session', `#/session?id=${sessionId(1)}`, /api\/session\?/],
    ['audit', '#/audit', /api\/audit/],
  ]
  const results = []
  for (const [what, hash, waitsFor] of looks) {
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      await go(page, hash === '#/audit' ? '#/overview' : '#/audit', undefined)
      times.push(await go(page, hash, waitsFor))
    }
    results.push([what, times] as const)
  }
  await page.close()
  return results
}

async function go(page: Page, hash: string, waitsFor: RegExp | undefined): Promise<number> {
  const begun = performance.now()
  const answered = waitsFor && page.waitForResponse((response) => waitsFor.test(response.url()))
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`)
  await (await answered)?.finished()
  await page.evaluate('new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))')
  return performance.now() - begun
}

function row(what: string, milliseconds: readonly number[], verdict: string): string {
  const columns = milliseconds.map((one) => one.toFixed(0).padStart(6))
  return `  ${what.padEnd(48)}${columns.join('')}  ${verdict}`.trimEnd()
}

await main()
