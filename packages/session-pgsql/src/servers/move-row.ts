import { SessionPgsqlError } from '../errors.ts'
import { beganByClock } from '../session/lifetime.ts'
import { clockNow } from '../session/stored.ts'
import {
  baseOf,
  changeRowCopy,
  clearReceived,
  type Decision,
  deleteRow,
  type LockedRow,
  lockRowCopy,
  type ReceivedRow,
  type RowCopy,
  recordBase,
  recordedBaseOf,
} from '../table/row-copies.ts'
import type { Transact } from '../table/table.ts'
import type { Server } from './server.ts'
import { type FailbackOutcome, type MergeTexts, settle } from './settle.ts'
import { type ColumnFunctions, mayMerge, settledColumns } from './settled-columns.ts'

/** Runs work on the target server; rejects as soon as that server is known not to answer. */
export type RunOnTarget = <T>(work: () => Promise<T>) => Promise<T>

export interface MoveOptions {
  readonly merge: MergeTexts
  readonly columns: ColumnFunctions
  /** Whether a third server may have a row of this id. */
  readonly mayBeElsewhere: boolean
  readonly deadline: number
  /** Runs the work on the target, so that the row does not stay locked for a target that hangs. */
  readonly runOnTarget?: RunOnTarget
}

/**
 * Moves one row from server to server. Both rows stay locked meanwhile, so another process that does the same finds it
 * done.
 *
 * @returns undefined if there was no row, or if it is left to a process that computes the columns of a merge
 */
export async function moveRow(
  id: string,
  from: Server,
  to: Server,
  { merge, columns, mayBeElsewhere, deadline, runOnTarget = (work) => work() }: MoveOptions,
): Promise<FailbackOutcome | undefined> {
  if (from === to) {
    // The list of servers has changed since the row was written: it is on its home server.
    const unmark = ({ row }: LockedRow): Decision<undefined> => ({
      next: row && { ...row, home: null, base: null, received: null },
      answer: undefined,
    })
    await from.table.transaction((query, shape) => changeRowCopy(query, shape, id, unmark), deadline)
    return undefined
  }
  let received: string | undefined
  let mustRemember = false
  let isAbandoned = false
  let isLeft = false
  /** Once the row on `from` is unlocked, its content may be outdated and must not be written. */
  const checkLocked = (): void => {
    if (isAbandoned) throw new SessionPgsqlError('SERVER_DOWN', 'The server has not answered in time.')
  }
  const moved = await holdBoth(from, to, deadline, (onSource, onTarget) =>
    onSource(async (query, shape) => {
      const { row } = await lockRowCopy(query, shape, id)
      if (row === undefined) return undefined
      const arrive = async ({
        row: current,
        clock,
      }: LockedRow): Promise<Decision<FailbackOutcome | undefined>> => {
        const mergeIfAble: MergeTexts = (ours, theirs, base, ofTwoUsers) => {
          isLeft = !mayMerge(row, current, columns)
          return isLeft ? '' : merge(ours, theirs, base, ofTwoUsers)
        }
        const move = { from: from.name, to: to.name, clock, mayBeElsewhere, merge: mergeIfAble }
        const { next, outcome } = await settle(byClock(row, clock), current, move)
        checkLocked()
        if (isLeft) return { answer: undefined }
        if (next === undefined) return { answer: outcome }
        mustRemember = next.session.generation !== row.session.generation || isBasedOnThird(row, to.name)
        received = next.destroyed === null ? recordReceived(row, next, from.name) : undefined
        // No process may take the result for a state that it has read on either server.
        const version = Math.max(row.session.version, current?.session.version ?? 0) + 1
        const written: RowCopy = {
          ...next,
          session: { ...next.session, version },
          ...settledColumns(next, row, current, columns),
          ...{ home: null, base: null, received: received ?? null },
        }
        return { next: written, answer: outcome }
      }
      const writeTarget = (): Promise<FailbackOutcome | undefined> =>
        onTarget(async (query, shape) => {
          const { answer } = await changeRowCopy(query, shape, id, arrive)
          checkLocked()
          return answer
        })
      const outcome = await runOnTarget(writeTarget).catch((error) => {
        isAbandoned = true
        throw error
      })
      if (outcome !== undefined) await deleteRow(query, shape, id)
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

/**
 * Returns a row with its times by the clock of the server to which it moves: sessions and tombstones live there as long
 * as they would have lived.
 */
function byClock(row: RowCopy, clock: number): RowCopy {
  const { session, destroyed, keptUntil } = row
  const ahead = clock - clockNow(session)
  const shifted = (time: number | null): number | null => (time === null ? null : Math.round(time + ahead))
  if (destroyed === null) {
    const began = beganByClock(session, clock)
    return { ...row, session: { ...session, began, expires: shifted(session.expires) } }
  }
  return { ...row, destroyed: Math.min(destroyed, Math.ceil(clock)), keptUntil: shifted(keptUntil) }
}

/** Returns true if the row was made from a row of a third server, which has yet to be moved back. */
function isBasedOnThird(row: RowCopy, to: string): boolean {
  const server = recordedBaseOf(row)?.server ?? null
  return server !== null && server !== to
}

/** Returns what the home server records of a received row, to recognise it if it is moved again. */
function recordReceived(row: RowCopy, next: RowCopy, from: string): string {
  const { session, base } = row
  const { generation } = next.session
  const received: ReceivedRow = {
    ...{ from, base, generation: session.generation },
    row: baseOf(recordBase({ ...session, generation })),
  }
  return JSON.stringify(received)
}
