import { createHmac } from 'node:crypto'
import { connect } from 'node:net'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import { SliceRecorder, type SliceRequest, type SliceResult } from '../candidate.ts'
import { randomNumbers, sessionId } from '../sessions.ts'
import { SECRET } from './app.ts'

/**
 * Sends requests. Each caller keeps one connection and sends its next request after the last response. It uses sockets
 * and no HTTP client, because on a small machine the cost of a client reduces the throughput of every application.
 */

export interface LoadRequest extends SliceRequest {
  readonly port: number
  readonly sessions: number
}

export default async function load(_input: unknown, channel: WorkerChannel): Promise<void> {
  channel.send('ready')
  const cookies = new Map<number, string>()
  for (;;) {
    const message = await channel.receive()
    if (message === 'end') return
    channel.send(await runSlice(message as LoadRequest, cookies))
  }
}

async function runSlice(request: LoadRequest, cookies: Map<number, string>): Promise<SliceResult> {
  const random = randomNumbers(request.seed)
  const recorder = new SliceRecorder()
  const stop = recorder.start + request.milliseconds

  function browse(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(request.port, '127.0.0.1')
      socket.setNoDelay(true)
      let sent = 0
      let response = ''
      const next = (): void => {
        sent = performance.now()
        if (sent >= stop) {
          socket.end()
          resolve()
          return
        }
        const n = random(request.sessions)
        let cookie = cookies.get(n)
        if (cookie === undefined) {
          cookie = signedCookie(sessionId(n))
          cookies.set(n, cookie)
        }
        socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nCookie: connect.sid=${cookie}\r\n\r\n`)
      }
      socket.on('connect', next)
      socket.on('error', reject)
      socket.on('close', () =>
        reject(new Error(`The application closed the connection after: ${response.slice(0, 300)}`)),
      )
      socket.on('data', (chunk) => {
        response += chunk.toString('latin1')
        const end = response.indexOf('\r\n\r\n')
        if (end < 0) return
        // A response is complete after its last chunk, or at its content length.
        const [head, body] = [response.slice(0, end), response.slice(end + 4)]
        const length = /^content-length: (\d+)/im.exec(head)?.[1]
        if (length === undefined ? !body.endsWith('0\r\n\r\n') : body.length < Number(length)) return
        if (head.startsWith('HTTP/1.1 200 ') && /user \d{7}/.test(body)) {
          recorder.succeeded(sent)
        } else {
          recorder.failed(response.slice(0, 300))
        }
        response = ''
        next()
      })
    })
  }
  await Promise.all(Array.from({ length: request.callers }, browse))
  return recorder.result()
}

/** Signs a cookie as express-session does. */
function signedCookie(id: string): string {
  const signature = createHmac('sha256', SECRET).update(id).digest('base64').replace(/=+$/, '')
  return encodeURIComponent(`s:${id}.${signature}`)
}
