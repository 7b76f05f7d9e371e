import { unreadableReason } from '../codec/sealed.ts'
import { MAX_EXPIRY_GRACE, type StoredSession } from '../session/stored.ts'
import {
  baseOf,
  canBeFallback,
  changeRowCopy,
  type Decision,
  type LockedRow,
  type RowCopy,
} from './row-copies.ts'
import { CLOCK, ge, le, minus, plus } from './sql.ts'
import type { SessionTable } from './table.ts'

/** What a destroy leaves with several servers, and other rows that are no sessions. */

/** The time of an event on a server whose clock the process does not know. Later than any other. */
export const UNKNOWN_TIME: number = Number.MAX_SAFE_INTEGER

/** The most seconds for which a tombstone is kept. */
const MOST_KEPT = 30 * 86_400

/** Where and when a session is destroyed. */
export interface Destroying {
  /** The home server; null: this server. */
  readonly home: string | null
  /** This server's clock. */
  readonly clock: number
  /** See `RowCopy`. */
  readonly destroyed: number
  /** Whether another server may have another generation of the id. */
  readonly mayBeElsewhere: boolean
  /** Seconds for which a session on this server may live. */
  readonly lifetime: number
}

/**
 * Returns a tombstone for this id. It reads as absent, and keeps only what identifies the destroyed generation. It
 * names the generation only if the home server knows it, and no server may have another; otherwise it applies to every
 * row there that was created before.
 *
 * It is kept as long as a copy of the session may live that another server has, or that a process makes there which
 * does not know that the session was destroyed.
 */
export function tombstone(
  id: string,
  row: RowCopy | undefined,
  { home, clock, destroyed, mayBeElsewhere, lifetime }: Destroying,
): RowCopy {
  const { session } = row ?? {}
  const isKnown = !mayBeElsewhere && (home === null || (row !== undefined && isBasedOn(home, row)))
  return {
    session: {
      ...emptySession(id, clock),
      version: session?.version ?? 0,
      created: session?.created ?? null,
      generation: isKnown ? (session?.generation ?? null) : null,
    },
    home,
    base: row?.base ?? null,
    received: home === null ? (row?.received ?? null) : null,
    destroyed,
    keptUntil: lastUse(Math.max(clock + lifetime, session?.expires ?? 0), clock),
  }
}

/** Returns until when a tombstone is kept for a session with this expiry, by the server's clock. */
export function lastUse(expires: number, clock: number): number {
  return Math.ceil(Math.min(expires + MAX_EXPIRY_GRACE, clock + MOST_KEPT))
}

/**
 * Returns the longest lifetime in use on a server, in seconds: the time until the last of its sessions expires, to the
 * hour. At most 30 days, also if it cannot be found out.
 */
export async function longestLifetime(table: SessionTable, deadline: number): Promise<number> {
  try {
    // Without the index, the whole table would be scanned.
    if (!(await table.open(deadline)).sweepIndex) return MOST_KEPT
    const [row] = await table.query(
      (_shape, sql) => `
        WITH clock AS MATERIALIZED (SELECT ${CLOCK}::bigint AS now)
        SELECT ${minus('t.sess_sweep', '(SELECT now FROM clock)')} FROM ${sql} t
        WHERE ${le('t.sess_sweep', `(SELECT ${plus('now', `${MOST_KEPT}::bigint`)} FROM clock)`)}
          AND ${ge('t.sess_expire::bigint', '(SELECT now FROM clock)')}
        ORDER BY t.sess_sweep DESC LIMIT 1`,
      [],
      deadline,
      LONGEST_LIFETIME_TIMEOUT,
    )
    return Number(row?.[0] ?? 0)
  } catch {
    return MOST_KEPT
  }
}

/** Seconds. Many rows that `keepExpired` has kept may lie before the last session in the index. */
const LONGEST_LIFETIME_TIMEOUT = 0.2

/** Returns a session without content. @param clock of the server, in seconds since 1970 */
export function emptySession(id: string, clock: number): StoredSession {
  return {
    ...{ id, name: null, text: '', digest: null, version: 0, generation: null },
    ...{
      created: null,
      began: null,
      modified: null,
      expires: 0,
      addressCreated: null,
      addressModified: null,
    },
    ...{ accesses: 0, errors: 0, warnings: 0, notices: 0, errorMessage: null, custom: null },
    ...{ clock, readAt: performance.now() },
  }
}

/** Returns true if the fallback server's row was made from the row on the home server. */
function isBasedOn(home: string, { session, base }: RowCopy): boolean {
  // A logout does not depend on a key that this process lacks.
  if (base === null || unreadableReason(base) !== undefined) return false
  const { destroyed, generation, server } = baseOf(base)
  return destroyed === undefined && server === home && generation === session.generation
}

/** Writes a row that is not a session, if there is none with this id. Lists and counts leave it out, as a tombstone. */
export async function writeNote(table: SessionTable, id: string, deadline: number): Promise<void> {
  if (!canBeFallback(await table.open(deadline))) return
  const note = ({ row, clock }: LockedRow): Decision<void> => {
    if (row !== undefined) return { answer: undefined }
    const at = { home: null, clock, destroyed: Math.ceil(clock), mayBeElsewhere: false, lifetime: MOST_KEPT }
    return { next: tombstone(id, undefined, at), answer: undefined }
  }
  await table.transaction((query, shape) => changeRowCopy(query, shape, id, note), deadline)
}
