import { createHmac } from 'node:crypto'
import { connect } from 'node:net'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Slice, SliceOrder } from '../racer.ts'
import { randomNumbers, sessionId } from '../sessions.ts'
import { quantile } from '../statistics.ts'
import { SECRET } from './app.ts'

/**
 * Browsers, as many as there are callers: each keeps one connection and sends the next request when the last one
 * is answered. Written on bare sockets, because what the client costs is taken from the application on a small
 * machine, and makes all applications look alike.
 */

export interface LoadOrder extends SliceOrder {
  readonly port: number
  readonly sessions: number
}

export default async function load(_input: unknown, channel: WorkerChannel): Promise<void> {
  channel.send('ready')
  const cookies = new Map<number, string>()
  for (;;) {
    const message = await channel.receive()
    if (message === 'end') return
    channel.send(await runSlice(message as LoadOrder, cookies))
  }
}

async function runSlice(order: LoadOrder, cookies: Map<number, string>): Promise<Slice> {
  const random = randomNumbers(order.seed)
  const latencies: number[] = []
  let firstFailure: string | undefined
  let failures = 0
  const start = performance.now()
  const stop = start + order.milliseconds

  function browse(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(order.port, '127.0.0.1')
      socket.setNoDelay(true)
      let sent = 0
      let answer = ''
      const next = (): void => {
        sent = performance.now()
        if (sent >= stop) {
          socket.end()
          resolve()
          return
        }
        const n = random(order.sessions)
        let cookie = cookies.get(n)
        if (cookie === undefined) {
          cookie = signedCookie(sessionId(n))
          cookies.set(n, cookie)
        }
        socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nCookie: connect.sid=${cookie}\r\n\r\n`)
      }
      socket.on('connect', next)
      socket.on('error', reject)
      socket.on('close', () => reject(new Error(`The application hung up, after: ${answer.slice(0, 300)}`)))
      socket.on('data', (chunk) => {
        answer += chunk.toString('latin1')
        const end = answer.indexOf('\r\n\r\n')
        if (end < 0) return
        // The answers are short: all of one is here when its last chunk is, or as much as its length says.
        const [head, body] = [answer.slice(0, end), answer.slice(end + 4)]
        const length = /^content-length: (\d+)/im.exec(head)?.[1]
        if (length === undefined ? !body.endsWith('0\r\n\r\n') : body.length < Number(length)) return
        if (head.startsWith('HTTP/1.1 200 ') && /user \d{7}/.test(body)) {
          latencies.push(performance.now() - sent)
        } else {
          failures++
          firstFailure ??= answer.slice(0, 300)
        }
        answer = ''
        next()
      })
    })
  }
  await Promise.all(Array.from({ length: order.callers }, browse))

  const sorted = Float64Array.from(latencies).sort()
  return {
    calls: latencies.length,
    failures,
    firstFailure,
    milliseconds: performance.now() - start,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
  }
}

/** As express-session signs it. */
function signedCookie(id: string): string {
  const signature = createHmac('sha256', SECRET).update(id).digest('base64').replace(/=+$/, '')
  return encodeURIComponent(`s:${id}.${signature}`)
}
