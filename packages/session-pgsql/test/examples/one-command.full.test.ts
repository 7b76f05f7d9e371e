import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { until, within } from '../support/wait.ts'

/**
 * Every example by the one command of its package.json, as a process of its own on the embedded database and on
 * the package as it was built: a visitor comes, the process ends and starts again, and the visitor is known.
 */

const EXAMPLES = join(import.meta.dirname, '../../../../examples')

/** One that needs more than Node; its own tests are in the package of the gateway. */
const ELSEWHERE = ['php-and-node']

interface Visit {
  /** Leaves something behind. */
  come(browser: Browser): Promise<unknown>
  /** A page that shows whether it is still there ... */
  readonly page: string
  /** ... with this text. */
  readonly shows: string
  /** Everybody sees it. */
  readonly isPublic?: boolean
}

const guaranteed: Visit = {
  async come(browser) {
    await browser.send('POST', '/sign-in?user=ada')
    await browser.send('POST', '/set?key=color&value=blue')
  },
  page: '/read',
  shows: '"color":"blue"',
}

const account = { name: 'Ada', email: 'ada@example.org', password: 'a long password' }

const VISITS: Record<string, Visit> = {
  'better-auth': {
    come: (browser) => browser.send('POST', '/api/auth/sign-up/email', account),
    page: '/api/auth/get-session',
    shows: 'ada@example.org',
  },
  demo: {
    come: (browser) => browser.send('POST', '/sign-in', new URLSearchParams({ user: 'lovelace' })),
    page: '/',
    shows: 'lovelace',
  },
  fastify: guaranteed,
  hono: guaranteed,
  koa: guaranteed,
  nestjs: guaranteed,
  'react-router': guaranteed,
  unstorage: {
    async come(browser) {
      await browser.send('POST', '/sign-in?user=ada')
      await browser.send('PUT', '/color', 'blue')
    },
    page: '/color',
    shows: 'blue',
    isPublic: true,
  },
  web: guaranteed,
}

test('no example is forgotten', () => {
  const there = readdirSync(EXAMPLES)
  expect([...Object.keys(VISITS), ...ELSEWHERE].sort()).toEqual(there.sort())
})

describe.each(Object.keys(VISITS))('the example %s', (name) => {
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-example-'))
  let running: Awaited<ReturnType<typeof start>> | undefined
  afterEach(async () => {
    await running?.end('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  async function start() {
    const database = join(folder, 'database')
    const child = spawn('npm', ['start', '--silent'], {
      cwd: join(EXAMPLES, name),
      env: {
        PATH: process.env.PATH ?? '',
        HOME: folder,
        FOLDER: database,
        DEMO_FOLDER: database,
        PORT: '0',
      },
      // A group of its own, as a shell gives it: Ctrl+C goes to all of it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
    const end = async (signal: NodeJS.Signals): Promise<string> => {
      if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), signal)
      await within(closed, 30_000, `${name} to end: ${output}`)
      return output
    }
    const url = await until(
      () => {
        if (child.exitCode !== null) throw new Error(`It ended: ${output}`)
        return /http:\/\/[^\s;/]+:\d+/.exec(output)?.[0]
      },
      `${name} to listen`,
      90_000,
    )
    return { url, end }
  }

  test('runs by one command, and knows its visitors after a restart', async () => {
    const visit = VISITS[name] as Visit
    running = await start()
    const browser = new Browser(running.url)
    await visit.come(browser)
    expect((await browser.send('GET', visit.page)).text).toContain(visit.shows)
    expect(await running.end('SIGINT')).not.toMatch(/Error/)
    running = await start()
    expect((await browser.clone(running.url).send('GET', visit.page)).text).toContain(visit.shows)
    const stranger = await new Browser(running.url).send('GET', visit.page)
    expect(stranger.status).toBeLessThan(500)
    if (visit.isPublic !== true) expect(stranger.text).not.toContain(visit.shows)
    await running.end('SIGTERM')
  }, 300_000)
})
