import session from 'express-session'
import type { PoolConfig } from 'pg'
import type { ConformanceSubject, OpenStore } from 'session-pgsql/testing'
import { expressPlace } from 'session-pgsql/testing'
import type { PostgresServer } from '../../packages/session-pgsql/test/support/postgres.ts'
import { startProxy } from '../../packages/session-pgsql/test/support/proxy.ts'

/** A subject, and what it holds open. */
export interface Contender {
  readonly subject: ConformanceSubject
  /** For the table's head. */
  readonly version: string
  stop(): Promise<void>
}

/** A store on PostgreSQL: how it is made, and how its rows look. */
export interface PostgresStore {
  readonly name: string
  readonly version: string
  /** Its table where the subject does not say otherwise. */
  readonly table: string
  /** The column of the data, and what `expiry - $1 seconds` is in SQL. */
  readonly dataColumn: string
  readonly expiryColumn: string
  readonly earlier: string
  open(where: PoolConfig, options: { table: string; timeout: number }): OpenStore
}

/** A store in a database of its own, behind a proxy that can take the database away. */
export async function postgresContender(store: PostgresStore, server: PostgresServer): Promise<Contender> {
  const database = store.name.replaceAll('-', '_')
  await server.createDatabase(database)
  const query = <R extends object>(sql: string, parameters: unknown[] = []): Promise<R[]> =>
    server.query(sql, parameters, database) as Promise<never>
  const proxy = await startProxy({ host: server.host, port: server.port })
  const where = { host: proxy.host, port: proxy.port, database, user: 'postgres' }
  const { table, dataColumn, expiryColumn } = store
  const place = (table: string) =>
    expressPlace(session, ({ timeout }) => store.open(where, { table, timeout }))
  const backAgain = async () => {
    proxy.drop()
    await proxy.resume()
  }
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
        away: {
          async begin() {
            await proxy.refuse()
            proxy.drop()
          },
          end: backAgain,
        },
        silent: { begin: async () => proxy.silence(), end: backAgain },
        failing: { begin: () => rename(dataColumn, 'away'), end: () => rename('away', dataColumn) },
      },
      async setTimeZone(zone) {
        await query(`ALTER DATABASE ${database} SET timezone TO '${zone}'`)
      },
      async emptyPlace() {
        // A schema each, for indexes and constraints may have names of their own.
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
