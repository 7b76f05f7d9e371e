import pg from 'pg'
import { SaveHandler } from 'session-pgsql'
import type { PostgresServer } from '../packages/session-pgsql/test/support/postgres.ts'
import { sqlData } from './sessions.ts'
import type { ConnectionConfig } from './stores/store.ts'

export interface FillOptions {
  readonly sessions: number
  readonly bytes: number
  readonly table?: string
  /** The form of the ids. @default 'plain' */
  readonly ids?: 'plain' | 'hashed'
  /** How many of them have expired, counted from the last. @default 0 */
  readonly expired?: number
  /** Storage parameters that replace those of the created table. */
  readonly storage?: string
}

/** SQL of the stored form of the id of session n, with the option `ids: 'hashed'`. */
const HASHED_ID = "'h1:' || translate(encode(sha256(md5(n::text)::bytea), 'base64'), '+/=', '-_')"

/** A separate database, so that PostgreSQL's counters cover one measurement only. */
export class BenchDatabase {
  readonly connection: ConnectionConfig
  readonly #server: PostgresServer
  readonly #client: pg.Client

  private constructor(server: PostgresServer, connection: ConnectionConfig, client: pg.Client) {
    this.#server = server
    this.connection = connection
    this.#client = client
  }

  /** Creates a database with a random name on the server. */
  static async create(server: PostgresServer): Promise<BenchDatabase> {
    const database = `bench_${Math.random().toString(36).slice(2, 10)}`
    await server.createDatabase(database)
    const connection: ConnectionConfig = { host: server.host, port: server.port, user: 'postgres', database }
    const client = new pg.Client(connection)
    client.on('error', () => {})
    await client.connect()
    return new BenchDatabase(server, connection, client)
  }

  async query<R extends pg.QueryResultRow>(sql: string, parameters: unknown[] = []): Promise<R[]> {
    return (await this.#client.query<R>(sql, parameters)).rows
  }

  /** Returns the first value of the first row as a number. */
  async value(sql: string, parameters: unknown[] = []): Promise<number> {
    const [row] = await this.query<Record<string, unknown>>(sql, parameters)
    return Number(Object.values(row ?? {})[0])
  }

  /** Creates the session table as the store does, and fills it with the sessions 0 to `sessions` - 1. */
  async fillSessions(options: FillOptions): Promise<void> {
    const { sessions, bytes, table = 'php_session', ids = 'plain', expired = 0, storage } = options
    const id = ids === 'plain' ? 'md5(n::text)' : HASHED_ID
    const handler = new SaveHandler({ db: this.connection, table, gcInterval: 0 })
    await handler.open()
    await handler.close()
    if (storage) await this.query(`ALTER TABLE ${table} SET (${storage})`)
    const { expression, parameter } = sqlData(bytes)
    await this.#withoutIndexes(table, async () => {
      await this.query(
        `INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_created, sess_modified, sess_expire, sess_counter,
           sess_error, sess_warning, sess_notice, sess_sweep, sess_generation)
         SELECT ${id}, 'connect.sid', ${expression}, now, now, expiry, 1, 0, 0, 0,
           ceil(expiry / 3600.0) * 3600, now * 1000000
         FROM generate_series(0, $2::int - 1) n,
           LATERAL (SELECT extract(epoch FROM now())::bigint AS now) c,
           -- Expiries in the past are distributed over a day, and are all due for garbage collection.
           LATERAL (SELECT c.now + CASE WHEN n < $2::int - $3::int THEN 86400 ELSE -3600 - n % 86400 END AS expiry) e`,
        [parameter, sessions, expired],
      )
    })
    await this.query(`VACUUM (ANALYZE) ${table}`)
  }

  /**
   * Distributes the expiries as on a site that has run with shortCircuit for a while: a lifetime of a day, and a random
   * part of what `refreshAfter` adds. Workloads that write leave other expiries.
   */
  async distributeExpiries(): Promise<void> {
    await this.query(
      `UPDATE php_session SET sess_expire = expiry, sess_sweep = ceil(expiry / 3600.0) * 3600
       FROM (SELECT sess_id AS id, extract(epoch FROM now())::bigint + 86400 + (random() * 8640)::int AS expiry
             FROM php_session) e
       WHERE sess_id = id`,
    )
    await this.query('VACUUM (ANALYZE) php_session')
  }

  /** Fills the table of connect-pg-simple, which the store has created. */
  async fillConnectPgSimple(sessions: number, bytes: number): Promise<void> {
    const { expression, parameter } = sqlData(bytes)
    await this.query(
      `INSERT INTO session (sid, sess, expire)
       SELECT md5(n::text), (${expression})::json, now() + interval '1 day' FROM generate_series(0, $2::int - 1) n`,
      [parameter, sessions],
    )
    await this.query('VACUUM (ANALYZE) session')
  }

  /** Returns the size of the table and its indexes in bytes. */
  size(table = 'php_session'): Promise<number> {
    return this.value('SELECT pg_total_relation_size($1::regclass)', [table])
  }

  /** Fills the table without indexes and creates them afterwards, which takes minutes less for millions of random ids. */
  async #withoutIndexes(table: string, fill: () => Promise<void>): Promise<void> {
    const indexes = await this.query<{ name: string; definition: string; constraint: string | null }>(
      `SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition, c.conname AS constraint
       FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid WHERE i.indrelid = $1::regclass`,
      [table],
    )
    for (const { name, constraint } of indexes) {
      await this.query(
        constraint ? `ALTER TABLE ${table} DROP CONSTRAINT ${constraint}` : `DROP INDEX ${name}`,
      )
    }
    await fill()
    for (const { definition, constraint } of indexes) {
      await this.query(
        constraint ? `ALTER TABLE ${table} ADD CONSTRAINT ${constraint} PRIMARY KEY (sess_id)` : definition,
      )
    }
  }

  /** Drops the database. */
  async drop(): Promise<void> {
    await this.#client.end()
    await this.#server.query(`DROP DATABASE ${this.connection.database} WITH (FORCE)`)
  }
}
