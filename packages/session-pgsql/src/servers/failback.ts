import type { Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Shape } from '../table/definition.ts'
import {
  baseOf,
  canBeFallback,
  clearReceived,
  fallbackRowsText,
  lockRowCopy,
  type ReceivedRow,
  type RowCopy,
  recordBase,
} from '../table/row-copies.ts'
import type { Transact } from '../table/table.ts'
import type { Member } from './member.ts'
import type { Server } from './server.ts'
import { type FailbackOutcome, type MergeTexts, settle, settledOwn } from './settle.ts'

/** Seconds between two scans for rows that belong on another server. */
const INTERVAL = 2

const BATCH = 200
const CONCURRENCY = 4

/** A row that belongs on another server: the name of its home server, and its id. */
type FallbackRow = readonly [home: string, id: string]

export interface FailbackOptions {
  readonly members: readonly Member[]
  /** Returns the home server of an id. */
  readonly homeOf: (id: string) => Member
  readonly merge: MergeTexts
  /** Seconds for each row. */
  readonly operationTimeout: number
  readonly onFailback: (event: { id: string; from: string; to: string; outcome: FailbackOutcome }) => void
  readonly onError: (error: Error) => void
}

/**
 * Moves rows from fallback servers back to their home servers. Never stops: other processes may still consider the
 * home server down and write to the fallback. Every process does it, concurrently and repeatedly; a process that
 * dies halfway leaves nothing that another cannot finish. Versions are compared by digest and generation;
 * timestamps decide only where neither is known, because the servers' clocks differ.
 */
export class Failback {
  readonly #options: FailbackOptions
  readonly #timer: NodeJS.Timeout
  #scanning: Promise<void> | undefined
  #closed = false

  constructor(options: FailbackOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.scan(), INTERVAL * 1000)
    this.#timer.unref()
  }

  /** Scans every server for rows that belong elsewhere and moves them. Concurrent calls share one scan. */
  scan(): Promise<void> {
    this.#scanning ??= this.#scanAll().finally(() => {
      this.#scanning = undefined
    })
    return this.#scanning
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#scanning
  }

  async #scanAll(): Promise<void> {
    for (const from of this.#options.members) {
      // Checked before a request finds out. For a server that only serves reads, no request would notice that it is
      // read-only.
      if (this.#closed || from.health.isDown || !(await from.health.check())) continue
      await this.#moveBackFrom(from).catch((error) => this.#options.onError(error))
    }
  }

  async #moveBackFrom(from: Member): Promise<void> {
    const { table } = from.server
    if (!canBeFallback(await table.open(this.#deadline()))) return
    from.waiting = (await this.#fallbackRows(from, ['', ''], [])).length
    // However many rows of an unreachable home server there are, they must not delay the others.
    const down = this.#options.members.filter(({ health }) => health.isDown).map(({ name }) => name)
    let last: FallbackRow | undefined = from.waiting === 0 ? undefined : ['', '']
    while (last !== undefined && !this.#closed) {
      const rows: FallbackRow[] = await this.#fallbackRows(from, last, down)
      last = rows.length < BATCH ? undefined : rows.at(-1)
      await this.#moveBackAll(rows, from)
    }
  }

  async #fallbackRows(
    from: Member,
    [home, id]: FallbackRow,
    exceptHomes: readonly string[],
  ): Promise<FallbackRow[]> {
    const parameters = [home, id, JSON.stringify(exceptHomes)]
    const rows = await from.server.table.query(
      (_shape, sql) => fallbackRowsText(sql, BATCH),
      parameters,
      this.#deadline(),
    )
    return rows as unknown as FallbackRow[]
  }

  async #moveBackAll(rows: readonly FallbackRow[], from: Member): Promise<void> {
    const ids = rows.map(([, id]) => id)
    const errors: Error[] = []
    const work = async (): Promise<void> => {
      for (let id = ids.shift(); id !== undefined && !this.#closed; id = ids.shift()) {
        const home = this.#options.homeOf(id)
        if (home.health.isDown || from.health.isDown) continue
        // A row that cannot be moved must not stop the others.
        await this.moveBack(id, from, home).catch((error) => errors.push(error))
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work))
    if (errors[0] !== undefined) this.#options.onError(errors[0])
  }

  /**
   * Moves one row to its home server. Both rows stay locked meanwhile, so another process that does the same finds
   * it done.
   *
   * @returns undefined if there was no row
   */
  async moveBack(id: string, from: Member, to: Member): Promise<FailbackOutcome | undefined> {
    const runOnTarget: RunOnTarget = (work) => to.health.run(work)
    const { merge } = this.#options
    const outcome = await moveRow(id, from.server, to.server, merge, this.#deadline(), runOnTarget)
    if (outcome !== undefined) {
      from.failbacks[outcome]++
      this.#options.onFailback({ id, from: from.name, to: to.name, outcome })
    }
    return outcome
  }

  #deadline(): number {
    return performance.now() + this.#options.operationTimeout * 1000
  }
}

/** Runs work on the target server; rejects as soon as that server is known not to answer. */
type RunOnTarget = <T>(work: () => Promise<T>) => Promise<T>

/**
 * Moves one row from server to server; see `Failback.moveBack`.
 *
 * @param runOnTarget runs the work on `to`, so that the row on `from` does not stay locked for a target that hangs
 */
export async function moveRow(
  id: string,
  from: Server,
  to: Server,
  merge: MergeTexts,
  deadline: number,
  runOnTarget: RunOnTarget = (work) => work(),
): Promise<FailbackOutcome | undefined> {
  if (from === to) {
    // The list of servers has changed since the row was written: it is on its home server.
    await from.table.transaction(async (query, shape) => {
      const { row, write } = await lockRowCopy(query, shape, id)
      if (row !== undefined) await write({ ...row, home: null, base: null, received: null })
    }, deadline)
    return undefined
  }
  let received: string | undefined
  let mustRemember = false
  let isAbandoned = false
  /** Once the row on `from` is unlocked, its content may be outdated and must not be written. */
  const checkLocked = (): void => {
    if (isAbandoned) throw new SessionPgsqlError('SERVER_DOWN', 'The server has not answered in time.')
  }
  const moved = await holdBoth(from, to, deadline, (onSource, onTarget) =>
    onSource(async (query, shape) => {
      const { row, remove } = await lockRowCopy(query, shape, id)
      if (row === undefined) return undefined
      const writeTarget = async (query: Query, shape: Shape): Promise<FailbackOutcome> => {
        const { row: current, clock, write } = await lockRowCopy(query, shape, id)
        const { next, outcome } = await settle(row, current, clock, merge, from.name, to.name)
        checkLocked()
        if (next !== undefined) {
          mustRemember = next.session.generation !== row.session.generation || isBasedOnThird(row, to.name)
          received = next.destroyed === null ? receivedOf(row, next, from.name) : undefined
          // No process may take the result for a state that it has read on either server.
          const version = Math.max(row.session.version, current?.session.version ?? 0) + 1
          const session = { ...next.session, version }
          await write({
            ...next,
            session,
            own: settledOwn(next, row, current),
            home: null,
            base: null,
            received: received ?? null,
          })
          checkLocked()
        }
        return outcome
      }
      const outcome = await runOnTarget(() => onTarget(writeTarget)).catch((error) => {
        isAbandoned = true
        throw error
      })
      await remove()
      return outcome
    }),
  )
  if (received !== undefined && !mustRemember) {
    const known = received
    await to.table
      .transaction((query, shape) => clearReceived(query, shape, id, known), deadline)
      // If this fails, the value stays. It costs space only.
      .catch(() => {})
  }
  return moved
}

/**
 * Holds a transaction slot on both servers, always in the order of their names: two processes that move rows in
 * opposite directions would otherwise deadlock, each waiting for the slot that the other holds.
 */
function holdBoth<T>(
  from: Server,
  to: Server,
  deadline: number,
  work: (onSource: Transact, onTarget: Transact) => Promise<T>,
): Promise<T> {
  return from.name < to.name
    ? from.table.hold((onSource) => to.table.hold((onTarget) => work(onSource, onTarget), deadline), deadline)
    : to.table.hold((onTarget) => from.table.hold((onSource) => work(onSource, onTarget), deadline), deadline)
}

/** Returns true if the row was made from a row of a third server, which has yet to be moved back. */
function isBasedOnThird({ base }: RowCopy, to: string): boolean {
  const server = base === null ? null : baseOf(base).server
  return server !== null && server !== to
}

/** Returns what the home server records of a received row, to recognise it if it is moved again. */
function receivedOf(row: RowCopy, next: RowCopy, from: string): string {
  const { session, base } = row
  const { generation } = next.session
  const received: ReceivedRow = {
    ...{ from, base, generation: session.generation },
    row: baseOf(recordBase({ ...session, generation })),
  }
  return JSON.stringify(received)
}
