import { setTimeout } from 'node:timers/promises'
import { keyIdOf, SEALED_PREFIX } from '../codec/sealed.ts'
import { type Parameter, plain } from '../database/database.ts'
import type { SealedColumn, SessionCipher } from '../session/cipher.ts'
import { isTrue } from './answers.ts'
import { quoteLiteral, type Shape, sqlName } from './definition.ts'
import { ledgerName, rowDigest } from './importing.ts'
import { BYTEWISE, eq, gt, isIn, ne, same } from './sql.ts'
import type { SessionTable } from './table.ts'

/**
 * Encrypts the rows that are stored in plain text or with another key. A session's version and dates do not change,
 * because the session does not: a request that has read it before writes it without a conflict. A row that a request
 * locks or writes meanwhile is left to the next pass.
 */

export interface EncryptOptions {
  /** Encrypts with the key `keyId`; decrypts what is stored with any key, and accepts plain text. */
  readonly cipher: SessionCipher
  readonly keyId: string
  /** Timeout of each statement, in seconds. */
  readonly operationTimeout: number
  /** Ends the run after the current page. */
  readonly signal: AbortSignal
  /** Called after each page with the number of rows encrypted so far. */
  readonly onProgress?: ((encrypted: number) => void) | undefined
}

export interface Encrypted {
  /** Number of rows encrypted. */
  readonly encrypted: number
  /** Number of rows with a text that none of the keys decrypts. They stay as they are. */
  readonly unreadable: number
  /** Number of other rows that are stored in plain text or with another key: written meanwhile by a process that does so. */
  readonly left: number
  readonly ended: 'done' | 'interrupted'
}

/** Rows that one statement reads: a session can have megabytes. */
const PAGE = 100

/** Milliseconds between two pages, so that a run does not slow down requests. */
const PAUSE = 2

/** Passes over the table. Rows that were locked or written during one are encrypted by the next. */
const MAX_PASSES = 5

const COLUMNS: readonly SealedColumn[] = ['sess_data', 'sess_err_message', 'sess_base']

type Texts = readonly (string | null)[]

/** Encrypts every row of the table, in the order of ids. It can be interrupted and repeated. */
export async function encryptTable(table: SessionTable, options: EncryptOptions): Promise<Encrypted> {
  const { operationTimeout, signal, onProgress } = options
  const deadline = (): number => performance.now() + operationTimeout * 1000
  const marks = await mayMark(table, deadline())
  let encrypted = 0
  for (let pass = 1; ; pass++) {
    let unreadable = 0
    let left = 0
    let after: string | undefined = ''
    while (after !== undefined) {
      const page = await encryptPage(table, options, after, marks, deadline())
      encrypted += page.encrypted
      unreadable += page.unreadable
      left += page.left
      after = page.last
      onProgress?.(encrypted)
      if (signal.aborted) return { encrypted, unreadable, left, ended: 'interrupted' }
      await setTimeout(PAUSE, undefined, { ref: false })
    }
    if (left === 0 || pass === MAX_PASSES) return { encrypted, unreadable, left, ended: 'done' }
  }
}

/** Counts the rows that are stored in plain text or with another key. Reads the whole table. */
export async function countUnencrypted(
  table: SessionTable,
  keyId: string,
  deadline: number,
): Promise<number> {
  const [row] = await table.query(
    (shape, sql) => `SELECT pg_catalog.count(*) FROM ${sql} t WHERE ${isOpen(shape, keyId)}`,
    [],
    deadline,
  )
  return Number(row?.[0])
}

async function encryptPage(
  table: SessionTable,
  { cipher, keyId }: EncryptOptions,
  after: string,
  marks: boolean,
  deadline: number,
): Promise<{ last: string | undefined; encrypted: number; unreadable: number; left: number }> {
  const [end, ...rows] = await table.query(
    (shape, sql) => `
      WITH page AS MATERIALIZED (
        SELECT t.sess_id FROM ${sql} t WHERE ${gt('t.sess_id', '$1')} ORDER BY t.sess_id LIMIT ${PAGE}
      )
      SELECT (SELECT pg_catalog.max(p.sess_id) FROM page p), NULL, NULL, NULL
      UNION ALL
      SELECT t.sess_id, ${COLUMNS.map((column) => (hasColumn(shape, column) ? `t.${column}` : 'NULL')).join(', ')}
      FROM ${sql} t WHERE ${isIn('t.sess_id', 'ARRAY(SELECT p.sess_id FROM page p)')} AND ${isOpen(shape, keyId)}`,
    [after],
    deadline,
  )
  const changed: { readonly id: string; readonly before: Texts; readonly after: Texts }[] = []
  let unreadable = 0
  for (const [id = '', ...before] of rows as [string, ...Texts][]) {
    const isDone = (text: string | null | undefined): boolean => !text || keyIdOf(text) === keyId
    const after = before.map((text, index) => {
      const column = COLUMNS[index] as SealedColumn
      // An unreadable text is sealed to what it was.
      return !text || isDone(text) ? text : cipher.seal(cipher.open(text, column, id), column, id)
    })
    if (!after.every(isDone)) unreadable++
    if (after.some((text, index) => text !== before[index])) changed.push({ id, before, after })
  }
  let encrypted = 0
  if (changed.length > 0) {
    const texts = (of: (row: (typeof changed)[number]) => string | null | undefined): Parameter => ({
      type: 'text',
      values: changed.map((row) => of(row) ?? null),
    })
    const parameters = [
      texts(({ id }) => id),
      ...COLUMNS.map((_, index) => texts(({ before }) => before[index])),
      ...COLUMNS.map((_, index) => texts(({ after }) => after[index])),
    ]
    const updated = await table.transaction(
      (query, shape) => query(plain(encryptText(shape, marks)), parameters),
      deadline,
    )
    encrypted = updated.length
  }
  return { last: end?.[0] ?? undefined, encrypted, unreadable, left: changed.length - encrypted }
}

/** Returns true if there is a ledger of imports that this role may update. */
async function mayMark(table: SessionTable, deadline: number): Promise<boolean> {
  const [row] = await table.query(
    (
      shape,
    ) => `SELECT pg_catalog.has_table_privilege(l.oid, 'SELECT') AND pg_catalog.has_table_privilege(l.oid, 'UPDATE')
      FROM pg_catalog.pg_class l WHERE ${eq('l.oid', `pg_catalog.to_regclass(${quoteLiteral(ledgerName(shape))})`)}`,
    [],
    deadline,
  )
  return isTrue(row?.[0])
}

function hasColumn({ added }: Shape, column: SealedColumn): boolean {
  return column !== 'sess_base' || added.has(column)
}

/** Returns the condition: a text of the row is in plain text or encrypted with another key. */
function isOpen(shape: Shape, keyId: string): string {
  const prefix = quoteLiteral(`${SEALED_PREFIX}${keyId}.`)
  const conditions = COLUMNS.filter((column) => hasColumn(shape, column)).map((column) => {
    const isSealed = `pg_catalog.starts_with(t.${column} ${BYTEWISE}, ${prefix})`
    return `coalesce(${ne(`t.${column}`, "''")} AND NOT ${isSealed}, false)`
  })
  return `(${conditions.join(' OR ')})`
}

/**
 * Returns SQL that stores the encrypted texts of rows that still have the texts that were read. An imported session that
 * was not used keeps its mark in the ledger: a later import must not take it for a used one.
 */
function encryptText(shape: Shape, marks: boolean): string {
  const table = `${sqlName(shape.name)} t`
  const names = [
    'id',
    ...COLUMNS.map((column) => `old_${column}`),
    ...COLUMNS.map((column) => `new_${column}`),
  ]
  const arrays = names.map((_, index) => `pg_catalog.unnest($${index + 1}::pg_catalog.text[])`)
  const columns = COLUMNS.filter((column) => hasColumn(shape, column))
  // By bytes: a nondeterministic collation would make different texts equal.
  const isAsRead = columns.map((column) => same(`t.${column} ${BYTEWISE}`, `i.old_${column}`)).join(' AND ')
  return `
    WITH input AS MATERIALIZED (
      SELECT * FROM ROWS FROM (${arrays.join(', ')}) AS i(${names.join(', ')})
    ),
    locked AS MATERIALIZED (
      SELECT t.sess_id, ${rowDigest('t', shape)} AS mark
      FROM (SELECT * FROM input i ORDER BY i.id ${BYTEWISE} LIMIT ${PAGE}) i JOIN ${table} ON ${eq('t.sess_id', 'i.id')}
      WHERE ${isAsRead}
      FOR NO KEY UPDATE OF t SKIP LOCKED
    ),
    encrypted AS (
      UPDATE ${table} SET ${columns.map((column) => `${column} = i.new_${column}`).join(', ')}
      FROM input i JOIN locked l ON ${eq('l.sess_id', 'i.id')}
      WHERE ${eq('t.sess_id', 'i.id')} AND ${isAsRead}
      RETURNING t.sess_id, l.mark AS old_mark, ${rowDigest('t', shape)} AS mark
    )${
      marks
        ? `,
    marked AS (
      UPDATE ${ledgerName(shape)} l SET mark = e.mark FROM encrypted e
      WHERE ${eq('l.sess_id', 'e.sess_id')} AND ${eq('l.mark', 'e.old_mark')}
    )`
        : ''
    }
    SELECT e.sess_id FROM encrypted e`
}
