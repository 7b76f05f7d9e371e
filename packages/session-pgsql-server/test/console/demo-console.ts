import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { History, Me, SessionDetail } from '../../src/console/api.ts'
import { DEMO_DATA, demoAudit, demoHistory, demoOverview, demoPoint, demoSession } from './demo-data.ts'

/**
 * Serves the page with made-up data, for development of the page and for its screenshots.
 * `npx tsx test/console/demo-console.ts` serves it on port 8095.
 */
const PAGE = fileURLToPath(new URL('../../dist/console', import.meta.url))
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

export interface DemoOptions {
  readonly me?: Me
  /** The number of sessions. */
  readonly sessions?: number
  /** Whether the tables are so large that metrics are estimates. */
  readonly large?: boolean
  readonly port?: number
  /** Replaces the history. @default a busy day */
  readonly history?: (now: number, minutes: number) => History
}

interface DemoConsole {
  readonly url: string
  stop(): void
}

export async function startDemoConsole(options: DemoOptions = {}): Promise<DemoConsole> {
  const now = Date.now()
  const rows = Array.from({ length: options.sessions ?? 240 }, (_, index) => demoSession(index, now))
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://demo')
    if (url.pathname.startsWith('/api/')) {
      api(url, request.method === 'POST', response, rows, options)
      return
    }
    const name = url.pathname === '/' ? '/index.html' : url.pathname
    try {
      const file = readFileSync(join(PAGE, name))
      response.writeHead(200, {
        'Content-Type': TYPES[extname(name)] ?? 'application/octet-stream',
        'Content-Security-Policy':
          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
      })
      response.end(file)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise<void>((done) => server.listen(options.port ?? 0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function api(
  url: URL,
  post: boolean,
  response: ServerResponse,
  rows: SessionDetail[],
  options: DemoOptions,
): unknown {
  const now = Date.now()
  const parameter = (key: string): string => url.searchParams.get(key) ?? ''
  const answer = (value: unknown, status = 200) => {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
  }
  switch (url.pathname) {
    case '/api/me':
      return answer(
        options.me ?? { signedIn: true, role: 'operator', csrfToken: 'demo', signInWith: 'password' },
      )
    case '/api/overview':
      return answer(demoOverview(now))
    case '/api/history':
      return answer(
        options.history?.(now, Number(parameter('minutes'))) ??
          demoHistory(now, Number(parameter('minutes')), !options.large),
      )
    case '/api/live':
      return live(response, !options.large)
    case '/api/sessions': {
      const from = Number(parameter('after') || 0)
      const found = rows.filter((row) => matches(row, parameter('by'), parameter('q'), parameter('name')))
      const limit = Number(parameter('limit'))
      const next = from + limit < found.length ? { next: String(from + limit) } : {}
      return answer({
        sessions: found.slice(from, from + limit),
        ...next,
        total: { value: found.length, exact: true },
        orders: ['id', '-modified', '-created', '-errors', 'expires'],
      })
    }
    case '/api/session': {
      const row = rows.find(({ id }) => id === parameter('id'))
      return row === undefined
        ? answer({ error: 'There is no such session. It may have ended.' }, 404)
        : answer(row)
    }
    case '/api/session/data':
      return answer(DEMO_DATA)
    case '/api/count':
      return answer({ count: rows.filter(({ field }) => field === parameter('field')).length })
    case '/api/end':
      return answer({ ended: 1 })
    case '/api/gc':
      return answer(
        post
          ? { removed: 37, busy: [], failed: [] }
          : { due: { value: 37, exact: true }, keepsRows: false, unreachable: [] },
      )
    case '/api/audit':
      return answer(demoAudit(now))
    case '/api/sign-in':
      return answer({ error: 'Wrong password.' }, 401)
    default:
      return answer({ error: 'Not found.' }, 404)
  }
}

function matches(row: SessionDetail, by: string, q: string, name: string): boolean {
  if (name !== '' && row.name !== name) return false
  if (q === '') return true
  if (by === 'field') return row.field === q
  if (by === 'error') return row.errorMessage?.includes(q) ?? false
  return by === 'address' ? row.addressModified === q : row.id.startsWith(q)
}

function live(response: ServerResponse, exact: boolean): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  response.write(': open\n\n')
  const timer = setInterval(() => {
    response.write(`event: point\ndata: ${JSON.stringify(demoPoint(Date.now(), 0, 2, exact))}\n\n`)
  }, 2000)
  response.on('close', () => clearInterval(timer))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await startDemoConsole({ port: 8095 })
  console.log(url)
}
