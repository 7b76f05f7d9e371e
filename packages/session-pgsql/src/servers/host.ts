import type { Conninfo, Host } from '../conninfo/conninfo.ts'
import type { Database, Parameter, PoolUse, Query, Row, Statement } from '../database/database.ts'
import { plain } from '../database/database.ts'
import type { PoolClientLike, PoolLike } from '../database/drivers.ts'
import { ExtendedQuery } from '../database/extended-query.ts'
import { NodePostgres } from '../database/node-postgres.ts'
import { SessionPgsqlError } from '../errors.ts'
import { isTlsRefused, poolConfigOf } from './node-postgres-config.ts'

/** What a host says of itself. */
export interface Role {
  readonly standby: boolean
  readonly readOnly: boolean
  /** Counts the promotions in the history of this server's data; 0 on a standby. */
  readonly timeline: number
}

const ROLE = plain(`
  SELECT pg_is_in_recovery(), current_setting('transaction_read_only'),
    CASE WHEN pg_is_in_recovery() THEN 0
      ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END`)

/**
 * One host of a conninfo: a pool of connections, made when it is first used, and one connection more by which
 * it is asked for its role.
 */
export class HostDatabase implements Database {
  readonly label: string
  readonly #conninfo: Conninfo
  readonly #host: Host
  readonly #limits: { readonly poolSize: number; readonly operationTimeout: number }
  /** For `prefer` and `allow`: whether TLS is in use, once that is settled; it takes two attempts. */
  #encrypted: boolean | undefined
  readonly #refuse: ((role: Role) => string | undefined) | undefined
  #database: Promise<NodePostgres> | undefined
  /** The same, once it is there. */
  #open: NodePostgres | undefined
  #probe: Promise<NodePostgres> | undefined

  /**
   * @param refuse says of a role why it will not do; every new connection is asked, for a host that was the
   *   primary may have come back as a standby. Left out: any role will do, and nobody asks.
   */
  constructor(
    conninfo: Conninfo,
    host: Host,
    limits: { readonly poolSize: number; readonly operationTimeout: number },
    refuse: ((role: Role) => string | undefined) | undefined,
  ) {
    this.#refuse = refuse
    this.#conninfo = conninfo
    this.#host = host
    this.#limits = limits
    this.label = host.host.startsWith('/') ? host.host : `${host.host}:${host.port}`
  }

  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#use((database) => database.query(statement, parameters, deadline))
  }

  transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T> {
    return this.#use((database) => database.transaction(work, deadline))
  }

  /** Without the connection by which it is asked for its role. */
  get pool(): PoolUse | undefined {
    return this.#open?.pool
  }

  role(deadline: number): Promise<Role> {
    return this.#attempt(async () => {
      this.#probe ??= kept(this.#connect(1, undefined), () => {
        this.#probe = undefined
      })
      const [row] = await (await this.#probe).query(ROLE, [], deadline)
      return roleOf(row)
    })
  }

  /** Drops every connection; the next use makes new ones. */
  async close(): Promise<void> {
    const open = [this.#database, this.#probe]
    this.#database = undefined
    this.#open = undefined
    this.#probe = undefined
    await Promise.allSettled(open.map(async (database) => (await database)?.close()))
  }

  #use<T>(call: (database: Database) => Promise<T>): Promise<T> {
    return this.#attempt(async () => {
      this.#database ??= kept(this.#connect(this.#limits.poolSize, this.#refuse), () => {
        this.#database = undefined
      })
      this.#open = await this.#database
      return await call(this.#open)
    })
  }

  async #attempt<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      if (!this.#mayTryOtherwise(error)) throw error
      // libpq's second attempt: without TLS for `prefer`, with it for `allow`.
      this.#encrypted = this.#conninfo.tls.mode === 'allow'
      await this.close()
      return await call()
    }
  }

  #mayTryOtherwise(error: unknown): boolean {
    if (this.#encrypted !== undefined || !(error instanceof SessionPgsqlError)) return false
    const { mode } = this.#conninfo.tls
    // 28000: pg_hba.conf has no line for a connection of this kind.
    return (
      (mode === 'prefer' && isTlsRefused(error.cause)) || (mode === 'allow' && error.sqlState === '28000')
    )
  }

  async #connect(
    connections: number,
    refuse: ((role: Role) => string | undefined) | undefined,
  ): Promise<NodePostgres> {
    const { operationTimeout } = this.#limits
    const config = await poolConfigOf(
      this.#conninfo,
      this.#host,
      connections,
      operationTimeout,
      this.#encrypted,
    )
    const { default: pg } = await import('pg')
    const verify = refuse && { verify: verifier(refuse) }
    return new NodePostgres(new pg.Pool({ ...config, ...verify } as object) as unknown as PoolLike, true)
  }
}

function roleOf(row: Row | undefined): Role {
  return { standby: row?.[0] === 't', readOnly: row?.[1] === 'on', timeline: Number(row?.[2]) }
}

/** For pg-pool, which calls it with every new connection before anybody else gets it. */
function verifier(refuse: (role: Role) => string | undefined) {
  return (client: PoolClientLike, done: (error?: Error) => void): void => {
    const query = new ExtendedQuery(ROLE.text, undefined, [])
    client.query(query, (error) => {
      if (error) return done(error)
      const refusal = refuse(roleOf(query.rows[0]))
      done(
        refusal === undefined
          ? undefined
          : new SessionPgsqlError('SERVER_DOWN', `This host will not do: ${refusal}.`),
      )
    })
  }
}

/** A failure to connect is not kept. */
function kept<T>(connecting: Promise<T>, forget: () => void): Promise<T> {
  connecting.catch(forget)
  return connecting
}
