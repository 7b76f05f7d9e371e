import { once } from 'node:events'
import { connect, Server } from 'node:net'
import { expect, test, vi } from 'vitest'
import { freePort } from '../../../session-pgsql/test/support/connect.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { ask, consoles, type StartOptions } from './kit.ts'

/** How the console's HTTP server handles valid and hostile requests. These tests need no database. */

const start = consoles()
const PAGE = {
  'index.html': '<!doctype html><title>page</title>',
  'app.js': 'console.log(1)'.repeat(200),
  'secret.pem': 'not of a type that is served',
}

async function startWithPage(options: StartOptions = {}) {
  return start({ db: `host=127.0.0.1 port=${await freePort()}` }, { page: PAGE, ...options })
}

/** Sends bytes and returns everything that the server sends until it closes the connection. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    answer += chunk
  })
  socket.on('error', () => {})
  socket.write(bytes)
  await once(socket, 'close')
  return answer
}

test('serves on after a connection that it could not accept', async () => {
  const listen = vi.spyOn(Server.prototype, 'listen')
  try {
    const { port } = await startWithPage()
    // As Node does if there is no file descriptor left. Without a listener for it, the process would end.
    for (const server of listen.mock.contexts) (server as Server).emit('error', new Error('accept EMFILE'))
    expect(listen).toHaveBeenCalled()
    expect((await ask(port, '/')).status).toBe(200)
  } finally {
    listen.mockRestore()
  }
})

test('serves the page with its type, security headers and cache headers', async () => {
  const { port } = await startWithPage()
  for (const path of ['/', '/index.html', '/app.js', '/?x=1', '/nothing', '/api/me', '/api/nothing']) {
    const { headers } = await ask(port, path)
    const policy = Object.fromEntries(
      String(headers['content-security-policy'])
        .split('; ')
        .map((one) => [one.split(' ')[0], one.split(' ').slice(1).join(' ')]),
    )
    expect(policy).toMatchObject({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'connect-src': "'self'",
      'frame-ancestors': "'none'",
      'base-uri': "'none'",
      'form-action': "'self'",
    })
    expect(JSON.stringify(policy)).not.toMatch(/unsafe|\*|http/)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
    })
    expect(headers['access-control-allow-origin']).toBeUndefined()
  }
  const page = await ask(port, '/')
  expect(page).toMatchObject({ status: 200, text: PAGE['index.html'] })
  expect(page.headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-cache',
  })
  const script = await ask(port, '/app.js', { headers: { 'accept-encoding': 'gzip' } })
  expect(script.headers).toMatchObject({
    'content-type': 'text/javascript; charset=utf-8',
    'content-encoding': 'gzip',
  })
  const again = await ask(port, '/app.js', { headers: { 'if-none-match': script.headers.etag as string } })
  expect(again).toMatchObject({ status: 304, text: '' })
  expect(await ask(port, '/', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
  expect((await ask(port, '/', { method: 'PUT' })).status).toBe(405)
})

test('serves no file outside of the page, whatever the path', async () => {
  const { port } = await startWithPage()
  const paths = [
    '/../audit.jsonl',
    '/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '/..%5c..%5cetc%5cpasswd',
    '/....//....//etc/passwd',
    '/assets/../../audit.jsonl',
    '//etc/passwd',
    '/etc/passwd%00.js',
    '/app.js/',
    '/secret.pem',
    '/audit.jsonl',
    '/__proto__',
    '/constructor',
    '/api/__proto__',
    '/api/constructor',
    '/api/../app.js',
  ]
  for (const path of paths) {
    const answer = await raw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    expect([path, answer.slice(9, 12)]).toEqual([path, '404'])
  }
  const odd = ['*', 'http://evil.example/', 'x', '/%']
  for (const target of odd) {
    const answer = await raw(port, `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    expect([target, answer.slice(9, 12)]).toEqual([target, target === '/%' ? '404' : '400'])
  }
})

test('answers 408 if a request stays incomplete', async () => {
  const { port } = await startWithPage({ headersTimeout: 500 })
  expect(await raw(port, 'GET / HTTP/1.1\r\nHost: local')).toMatch(/^HTTP\/1\.1 408/)
  expect((await ask(port, '/')).status).toBe(200)
})

test('refuses headers and bodies that are too large, and invalid bodies', async () => {
  const { port, browser } = await startWithPage()
  const many = await raw(port, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)
  expect(many).toMatch(/^HTTP\/1\.1 431/)
  const one = browser()
  await one.me()
  expect((await one.post('/api/end', { ids: ['x'.repeat(400_000)] })).status).toBe(413)
  const chunked = await raw(
    port,
    `POST /api/gc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${'186a0\r\n'}${'x'.repeat(100_000)}\r\n`.repeat(
      1,
    ) + `186a0\r\n${'x'.repeat(100_000)}\r\n`.repeat(3),
  )
  expect(chunked).toMatch(/^HTTP\/1\.1 413/)
  for (const body of ['{', '[]', 'null', '"x"', '']) {
    expect([body, (await one.post('/api/end', body)).status]).toEqual([body, 400])
  }
  const bad = [
    { ids: [] },
    { ids: 'x' },
    { ids: [1] },
    { ids: new Array(1001).fill('x') },
    { field: '' },
    { field: 'x' },
    { field: 'x', count: -1 },
    { field: 'x', count: '1' },
    {},
  ]
  for (const body of bad) expect([body, (await one.post('/api/end', body)).status]).toEqual([body, 400])
  expect((await one.post('/api/session/data', { id: { a: 1 } })).status).toBe(400)
  const smuggled = await raw(
    port,
    'POST /api/gc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  )
  expect(smuggled).toMatch(/^HTTP\/1\.1 400/)
  // The server still works.
  expect((await ask(port, '/')).status).toBe(200)
})

test('answers requests in progress on close, ends live streams, and waits for no other connection', async () => {
  const { port, browser, close } = await startWithPage()
  const operator = browser()
  await operator.me()
  const slow = connect(port, '127.0.0.1')
  let answer = ''
  slow.setEncoding('latin1').on('data', (chunk) => {
    answer += chunk
  })
  slow.write(
    'POST /api/gc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n',
  )
  // The console waits for the body.
  await until(() => answer.startsWith('HTTP/1.1 100'), 'the console waits for the body')
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /api/live HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${operator.cookie}\r\n\r\n`)
  const [first] = await once(socket, 'data')
  expect(String(first)).toContain('text/event-stream')
  const ended = once(socket, 'close')
  socket.resume()
  // Browsers open a connection before they need it.
  const early = connect(port, '127.0.0.1')
  await once(early, 'connect')
  const begun = performance.now()
  const closed = close()
  await ended
  const answered = once(slow, 'close')
  slow.write('{}')
  await answered
  // 401, because the request has no cookie: the point is that it is answered.
  expect(answer.split('\r\n\r\n')[1]).toMatch(/^HTTP\/1\.1 401/)
  await closed
  // Not the three seconds that it grants to requests in progress.
  expect(performance.now() - begun).toBeLessThan(2000)
})
