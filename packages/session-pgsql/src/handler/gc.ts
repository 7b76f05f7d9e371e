import { isTraced, traced, tracing } from '../diagnostics.ts'
import type { SaveHandlerEvents, ServerDue, ServerSweep } from '../operations.ts'
import type { Server } from '../servers/server.ts'
import type { Servers } from '../servers/servers.ts'
import { sweepLocks } from '../table/locks.ts'
import { countDue, type SweepOptions, type Swept, sweep } from '../table/sweep.ts'

/** Garbage collection: when it runs, and what it does on each server. */

/** Schedules garbage collection: at an interval while there are accesses, or after every access. */
export class Collector {
  readonly #interval: number
  readonly #collect: () => Promise<unknown>
  #timer: NodeJS.Timeout | undefined
  #running = false
  #again = false
  #closed = false

  /**
   * @param interval seconds between two collections; 0 for never, negative for after every access
   * @param collect must not reject
   */
  constructor(interval: number, collect: () => Promise<unknown>) {
    this.#interval = interval
    this.#collect = collect
  }

  /** Call it at every access. Never waits: the collection begins later, in the background. */
  accessed(): void {
    if (this.#timer !== undefined || this.#closed || this.#interval === 0) return
    if (this.#running) {
      this.#again = true
      return
    }
    // A tenth is random, so that processes that start together do not sweep together.
    const delay = this.#interval < 0 ? 0 : this.#interval * 1000 * (0.95 + Math.random() / 10)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running = true
      void this.#collect().finally(() => {
        this.#running = false
        if (this.#again) {
          this.#again = false
          this.accessed()
        }
      })
    }, delay)
    this.#timer.unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

/** The most due rows that are counted on one server. */
const MOST_COUNTED = 10_000

/** Sweeps the servers and counts what is due. No method rejects because a server fails. */
export class Garbage {
  readonly #servers: Servers
  readonly #options: SweepOptions
  readonly #handler: object
  readonly #onSwept: (event: SaveHandlerEvents['gc'][0]) => void
  readonly #closing: AbortController = new AbortController()

  /**
   * @param handler the save handler, for diagnostics
   * @param onSwept called for each server that was swept, unless other transactions have locked all that is due
   */
  constructor(
    servers: Servers,
    { keepExpired, keepExpiredFor, expiryGrace, operationTimeout }: Omit<SweepOptions, 'signal'>,
    handler: object,
    onSwept: (event: SaveHandlerEvents['gc'][0]) => void,
  ) {
    this.#servers = servers
    const { signal } = this.#closing
    this.#options = { keepExpired, keepExpiredFor, expiryGrace, operationTimeout, signal }
    this.#handler = handler
    this.#onSwept = onSwept
  }

  sweep(): Promise<ServerSweep[]> {
    const sweepOne = (server: Server): Promise<ServerSweep> =>
      this.#traced(server).then(
        (swept) => ({ server: server.name, ...swept, error: undefined }),
        (error) => ({ server: server.name, removed: 0, ended: undefined, error }),
      )
    return Promise.all(this.#servers.all.map(sweepOne))
  }

  /** Counts the sessions that are due. @param timeLimit seconds after which PostgreSQL cancels the count */
  due(timeLimit: number): Promise<ServerDue[]> {
    const countOne = (server: Server): Promise<ServerDue> =>
      countDue(server.table, this.#options, { rows: MOST_COUNTED, timeLimit }).then(
        (due) => ({ server: server.name, ...due, error: undefined }),
        (error) => ({ server: server.name, count: 0, exact: false, error }),
      )
    return Promise.all(this.#servers.all.map(countOne))
  }

  /** Ends running sweeps after their current batch. */
  close(): void {
    this.#closing.abort()
  }

  #traced(server: Server): Promise<Swept> {
    if (!isTraced(tracing.gc)) return this.#sweep(server)
    return traced(
      tracing.gc,
      { handler: this.#handler, server: server.name },
      () => this.#sweep(server),
      ({ removed, ended }) => ({ removed, outcome: ended }),
    )
  }

  async #sweep({ name, table }: Server): Promise<Swept> {
    const start = performance.now()
    const swept = await sweep(table, this.#options)
    const seconds = (performance.now() - start) / 1000
    if (swept.ended !== 'busy' || swept.removed > 0)
      this.#onSwept({ server: name, removed: swept.removed, seconds })
    await sweepLocks(table, performance.now() + this.#options.operationTimeout * 1000)
    return swept
  }
}
