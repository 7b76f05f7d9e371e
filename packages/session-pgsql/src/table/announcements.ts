import { createHash } from 'node:crypto'
import { plain, type Query } from '../database/database.ts'
import { type EndedSession, type EndReason, MOST_CUSTOM } from '../session/ended.ts'
import { quoteLiteral, type TableName } from './definition.ts'
import { le } from './sql.ts'

/**
 * Announcements of ended sessions (option `announce`), by NOTIFY. The statement that deletes a row also announces it, so
 * PostgreSQL sends the announcement with the commit, and none after a rollback.
 */

/** What a process receives on the channel of a table. */
export type Announcement =
  | { readonly kind: 'ended'; readonly session: EndedSession }
  /** Sessions have ended that are not announced. */
  | { readonly kind: 'missed' }
  /** A process checks that it receives announcements. */
  | { readonly kind: 'check'; readonly nonce: string }

/**
 * SQLSTATEs of a statement that PostgreSQL did not execute because it could not announce: invalid parameter value
 * (payload too long), program limit exceeded (queue full), insufficient privilege (pg_notify), and lock_timeout, because
 * commits that announce wait for each other.
 */
const NOT_ANNOUNCED: ReadonlySet<string | undefined> = new Set(['22023', '54000', '42501', '55P03'])

/** Returns true if the work may succeed without announcing. */
export function isAboutAnnouncing(sqlState: string | undefined): boolean {
  return NOT_ANNOUNCED.has(sqlState)
}

/**
 * Returns the channel of a table. Every process that uses the table computes the same name. A hash, because PostgreSQL
 * limits the names of channels to 63 bytes, and two long names of tables must not share one.
 */
export function channelOf({ schema, table }: TableName): string {
  const digest = createHash('sha256').update(`${schema}\0${table}`).digest('hex')
  return `session_pgsql_ended_${digest.slice(0, 32)}`
}

/**
 * The most bytes of an announced id. As JSON, each may take six, and the custom field takes up to 1200; PostgreSQL accepts
 * less than 8000.
 */
const MOST_ID_BYTES = 1000

const MISSED = JSON.stringify({ missed: true })

/**
 * Returns SQL that announces the end of the session in a row, for the RETURNING of a DELETE. A session whose id is too
 * long is announced as one that every process has missed.
 *
 * @param row has the columns sess_id and sess_custom
 * @param reason SQL of the reason
 */
export function announceText(table: TableName, row: string, reason: string): string {
  const custom = `pg_catalog.left(${row}.sess_custom, ${MOST_CUSTOM})`
  return `pg_catalog.pg_notify('${channelOf(table)}',
        CASE WHEN ${le(`pg_catalog.octet_length(${row}.sess_id)`, String(MOST_ID_BYTES))}
          THEN pg_catalog.json_build_object('id', ${row}.sess_id, 'custom', ${custom}, 'reason', ${reason})::pg_catalog.text
          ELSE ${quoteLiteral(MISSED)} END)`
}

/** Announces the end of a session inside the transaction that ends it. */
export async function announceEnd(
  query: Query,
  table: TableName,
  { id, custom, reason }: EndedSession,
): Promise<void> {
  const text = `SELECT ${announceText(table, 't', '$3::pg_catalog.text')}
    FROM (SELECT $1::pg_catalog.text AS sess_id, $2::pg_catalog.text AS sess_custom) t`
  await query(plain(text), [id, custom, reason])
}

/**
 * Returns SQL that sends a check. $1: the payload, see `checkPayload`. A queue that was full stays full for PostgreSQL,
 * also when all listeners have read it, until a session asks for its usage.
 */
export function checkText(table: TableName): string {
  return `SELECT pg_catalog.pg_notify('${channelOf(table)}', $1), pg_catalog.pg_notification_queue_usage()`
}

/** @param missed whether all processes are told that they have missed announcements */
export function checkPayload(nonce: string, missed: boolean): string {
  return JSON.stringify({ check: nonce, ...(missed && { missed }) })
}

const REASONS: readonly unknown[] = ['destroyed', 'limited', 'expired'] satisfies EndReason[]

/** Returns what a payload announces. Ignores what it does not know: any role may send to the channel. */
export function announcementsIn(payload: string): Announcement[] {
  const content = objectIn(payload)
  const found: Announcement[] = []
  if (content.missed === true) found.push({ kind: 'missed' })
  if (typeof content.check === 'string') found.push({ kind: 'check', nonce: content.check })
  const { id, custom, reason } = content
  if (typeof id === 'string' && (custom === null || typeof custom === 'string') && REASONS.includes(reason)) {
    found.push({ kind: 'ended', session: { id, custom, reason: reason as EndReason } })
  }
  return found
}

function objectIn(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {}
  }
}
