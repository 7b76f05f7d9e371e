import session from 'express-session'
import type { PoolConfig } from 'pg'
import type { ConformanceSubject, OpenStore } from 'session-pgsql/testing'
import { expressPlace } from 'session-pgsql/testing'
import type { PostgresServer } from '../../packages/session-pgsql/test/support/postgres.ts'
import { startProxy } from '../../packages/session-pgsql/test/support/proxy.ts'
import { networkFaults } from '../../packages/session-pgsql/test/testing/network-faults.ts'

/** A store under test. */
export interface TestedStore {
  readonly subject: ConformanceSubject
  /** For the head of the table. */
  readonly version: string
  /** Closes what the store has open. */
  stop(): Promise<void>
}

/** How to open a store on PostgreSQL, and the columns of its table. */
export interface PostgresStore {
  readonly name: string
  readonly version: string
  /** The name of its table. */
  readonly table: string
  readonly dataColumn: string
  readonly expiryColumn: string
  /** The SQL expression for an expiry that is `$1` seconds earlier. */
  readonly earlier: string
  open(where: PoolConfig, options: { table: string; timeout: number }): OpenStore
}

/** Returns a store with its own database, behind a proxy that can make the database unreachable. */
export async function onPostgres(store: PostgresStore, server: PostgresServer): Promise<TestedStore> {
  const database = store.name.replaceAll('-', '_')
  await server.createDatabase(database)
  const query = <R extends object>(sql: string, parameters: unknown[] = []): Promise<R[]> =>
    server.query(sql, parameters, database) as Promise<never>
  const proxy = await startProxy({ host: server.host, port: server.port })
  const where = { host: proxy.host, port: proxy.port, database, user: 'postgres' }
  const { table, dataColumn, expiryColumn } = store
  const place = (table: string) =>
    expressPlace(session, ({ timeout }) => store.open(where, { table, timeout }))
  const rename = async (from: string, to: string) => {
    await query(`ALTER TABLE ${table} RENAME COLUMN ${from} TO ${to}`)
  }
  let tables = 0

  return {
    version: store.version,
    subject: {
      name: store.name,
      ...place(table),
      async passTime(seconds) {
        await query(`UPDATE ${table} SET ${expiryColumn} = ${store.earlier}`, [Math.round(seconds)])
      },
      fingerprint: async () =>
        JSON.stringify(await query(`SELECT xmin::text, ctid::text FROM ${table} ORDER BY 2`)),
      faults: {
        ...networkFaults(() => proxy),
        failing: { begin: () => rename(dataColumn, 'away'), end: () => rename('away', dataColumn) },
      },
      async setTimeZone(zone) {
        await query(`ALTER DATABASE ${database} SET timezone TO '${zone}'`)
      },
      async emptyPlace() {
        // A schema for each place: a store may give fixed names to its indexes and constraints.
        const schema = `empty_${++tables}`
        await query(`CREATE SCHEMA ${schema}`)
        await query(`ALTER DATABASE ${database} SET search_path TO ${schema}`)
        return {
          ...place(table),
          async remove() {
            await query(`ALTER DATABASE ${database} RESET search_path`)
            await query(`DROP SCHEMA ${schema} CASCADE`)
          },
        }
      },
    },
    stop: () => proxy.stop(),
  }
}
