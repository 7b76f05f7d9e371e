import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AccessControl } from './access.ts'
import type { Role } from './api.ts'
import type { Monitor } from './monitor.ts'
import { HttpError } from './responses.ts'

/** The maximum number of streams for the users of one role, so that readers leave operators theirs. */
const MAX_STREAMS = 50

/** The maximum number of bytes that are buffered for a browser that reads too slowly. */
const MAX_BUFFERED = 256 * 1024

/** Milliseconds between two checks that the users of open streams are still signed in. */
const CHECK_INTERVAL = 30_000

/** GET /api/live: streams of server-sent events. */
export class LiveStreams {
  readonly #monitor: Monitor
  readonly #access: AccessControl
  readonly #streams = new Map<ServerResponse, { readonly request: IncomingMessage; readonly role: Role }>()
  readonly #timer: NodeJS.Timeout

  constructor(monitor: Monitor, access: AccessControl) {
    this.#monitor = monitor
    this.#access = access
    this.#timer = setInterval(() => this.check(), CHECK_INTERVAL)
    this.#timer.unref()
  }

  /** Starts a stream. @throws 503 if too many streams are open */
  open(request: IncomingMessage, response: ServerResponse, role: Role): void {
    if ([...this.#streams.values()].filter((one) => one.role === role).length >= MAX_STREAMS) {
      throw new HttpError(
        503,
        `The console serves at most ${MAX_STREAMS} pages at a time for each role. Close other pages of it.`,
        { 'retry-after': '10' },
      )
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Without it nginx buffers the events.
      'x-accel-buffering': 'no',
    })
    response.write('retry: 2000\n\n')
    const send = (event: string, data: unknown): void => {
      if (response.writableLength > MAX_BUFFERED) response.destroy()
      else response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    }
    const unsubscribe = this.#monitor.subscribe({
      point: (point) => send('point', point),
      annotation: (annotation) => send('annotation', annotation),
    })
    this.#streams.set(response, { request, role })
    response.once('close', () => {
      unsubscribe()
      this.#streams.delete(response)
    })
  }

  /** Ends the streams of users who are not signed in any more. */
  check(): void {
    for (const [response, { request }] of this.#streams) {
      this.#access.requireUser(request).catch((error) => {
        if (error instanceof HttpError) response.end()
      })
    }
  }

  close(): void {
    clearInterval(this.#timer)
    for (const response of this.#streams.keys()) response.end()
  }
}
