import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access } from './access.ts'
import { Refusal } from './answers.ts'
import type { Watch } from './watch.ts'

const MOST_STREAMS = 100

/** Bytes that may wait for a browser that does not take them. */
const MOST_WAITING = 256 * 1024

/** Milliseconds after which it is asked again whether who listens is still signed in. */
const CHECK = 30_000

/** /api/live: streams of server-sent events. */
export class LiveStreams {
  readonly #watch: Watch
  readonly #access: Access
  readonly #streams = new Map<ServerResponse, IncomingMessage>()
  readonly #timer: NodeJS.Timeout

  constructor(watch: Watch, access: Access) {
    this.#watch = watch
    this.#access = access
    this.#timer = setInterval(() => this.check(), CHECK)
    this.#timer.unref()
  }

  begin(request: IncomingMessage, response: ServerResponse): void {
    if (this.#streams.size >= MOST_STREAMS) {
      throw new Refusal(503, 'Too many pages are open; close some.', { 'retry-after': '10' })
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // nginx would keep events until there are many.
      'x-accel-buffering': 'no',
    })
    response.write('retry: 2000\n\n')
    const send = (event: string, data: unknown): void => {
      if (response.writableLength > MOST_WAITING) response.destroy()
      else response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    }
    const end = this.#watch.listen({
      point: (point) => send('point', point),
      mark: (mark) => send('mark', mark),
    })
    this.#streams.set(response, request)
    response.once('close', () => {
      end()
      this.#streams.delete(response)
    })
  }

  /** Ends the streams of those who have signed out, or have been. */
  check(): void {
    for (const [response, request] of this.#streams) {
      this.#access.demand(request).catch((error) => {
        if (error instanceof Refusal) response.end()
      })
    }
  }

  close(): void {
    clearInterval(this.#timer)
    for (const response of this.#streams.keys()) response.end()
  }
}
