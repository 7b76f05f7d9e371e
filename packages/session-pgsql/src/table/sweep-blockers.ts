import { quoteLiteral, type Shape } from './definition.ts'
import { eq, isIn, minus } from './sql.ts'
import { CLOCKS, IS_SCHEDULED, isDue, type KeepOptions, machineClock } from './sweep.ts'
import type { SessionTable } from './table.ts'

/**
 * Describes the transactions that keep a sweep from removing sessions, for an operator: those that have locked the table,
 * otherwise those that have locked rows to remove. Empty if none can be identified.
 */
export async function sweepBlockers(
  table: SessionTable,
  options: KeepOptions,
  deadline: number,
): Promise<string[]> {
  let rows = await table.query((_, sql) => tableLocksText(sql), [], deadline)
  // A locked table would delay the second statement as well.
  if (rows.length === 0) {
    rows = await table.query((shape, sql) => rowLocksText(shape, sql, options), [machineClock()], deadline)
  }
  return rows.map(([pid, user, application, seconds, prepared]) => {
    if (pid == null) return `the prepared transaction ${prepared}`
    const facts = [
      `database user ${user}`,
      ...(application ? [application] : []),
      ...(seconds ? [`for ${seconds} s`] : []),
    ]
    return `process ${pid} (${facts.join(', ')})`
  })
}

/** PostgreSQL hides the start of another role's transaction, unless this role may read all statistics. */
const HOLDER = `l.pid, a.usename, a.application_name,
  extract(epoch FROM ${minus('pg_catalog.clock_timestamp()', 'a.xact_start')})::bigint, p.gid`

/** Joins a lock with its holder. A lock of a prepared transaction has no process, but the same virtual transaction. */
const HOLDERS = `
  LEFT JOIN pg_catalog.pg_stat_activity a ON ${eq('a.pid', 'l.pid')}
  LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND ${eq('x.locktype', "'transactionid'")}
    AND ${eq('x.virtualtransaction', 'l.virtualtransaction')}
  LEFT JOIN pg_catalog.pg_prepared_xacts p ON ${eq('p.transaction', 'x.transactionid')}`

/** The modes of table locks that conflict with a DELETE. */
const CONFLICTING = "'{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'::pg_catalog.text[]"

function tableLocksText(sql: string): string {
  return `
    SELECT DISTINCT ${HOLDER}
    FROM pg_catalog.pg_locks l ${HOLDERS}
    WHERE ${eq('l.relation', `pg_catalog.to_regclass(${quoteLiteral(sql)})::pg_catalog.oid`)}
      AND ${eq('l.database', `(SELECT d.oid FROM pg_catalog.pg_database d WHERE ${eq('d.datname', 'pg_catalog.current_database()')})`)}
      AND ${isIn('l.mode', CONFLICTING)} AND l.granted
    ORDER BY 1`
}

/** A row's `xmax` is the transaction that has locked it. */
function rowLocksText(shape: Shape, sql: string, options: KeepOptions): string {
  const due = shape.sweepIndex ? `${IS_SCHEDULED} ORDER BY t.sess_sweep` : isDue(shape, options)
  return `
    WITH ${CLOCKS},
    due AS MATERIALIZED (SELECT t.xmax AS xid FROM ${sql} t WHERE ${due} LIMIT 1000)
    SELECT DISTINCT ${HOLDER}
    FROM due JOIN pg_catalog.pg_locks l ON ${eq('l.locktype', "'transactionid'")}
      AND ${eq('l.transactionid', 'due.xid')} AND ${eq('l.mode', "'ExclusiveLock'")} AND l.granted
      ${HOLDERS}
    ORDER BY 1`
}
