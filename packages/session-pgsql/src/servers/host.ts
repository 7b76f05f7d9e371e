import type { Conninfo, Host } from '../conninfo/conninfo.ts'
import type {
  Database,
  Parameter,
  PoolUse,
  Query,
  Row,
  Statement,
  Subscriber,
  Subscription,
} from '../database/database.ts'
import { plain } from '../database/database.ts'
import type { ClientClass, PoolClientLike, PoolLike } from '../database/drivers.ts'
import { ExtendedQuery } from '../database/extended-query.ts'
import { NodePostgres } from '../database/node-postgres.ts'
import { SessionPgsqlError } from '../errors.ts'
import { DEFAULT_DB } from '../settings/settings.ts'
import { concat } from '../table/sql.ts'
import { withChannelBinding } from './channel-binding.ts'
import { poolConfigOf, secondAttemptOf } from './node-postgres-config.ts'
import { poolWithTwoAttempts } from './tls-fallback.ts'

/** What a host reports about itself. */
export interface Role {
  readonly standby: boolean
  readonly readOnly: boolean
  /** The host's timeline: PostgreSQL increments it at each promotion. 0 on a standby. */
  readonly timeline: number
}

const ROLE = plain(`
  SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE ${concat(
      "'x'",
      'pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8)',
    )}::bit(32)::int END`)

/**
 * One host of a conninfo: a pool of connections, opened at the first use, and one more connection to query its
 * role.
 */
export class HostDatabase implements Database {
  readonly label: string
  readonly #conninfo: Conninfo
  readonly #host: Host
  readonly #limits: { readonly poolSize: number; readonly operationTimeout: number }
  readonly #refuse: ((role: Role) => string | undefined) | undefined
  #database: Promise<NodePostgres> | undefined
  /** The resolved `#database`. */
  #open: NodePostgres | undefined
  #probe: Promise<NodePostgres> | undefined

  /**
   * @param refuse returns why a role cannot be used, or undefined. Called for every new connection, because a host
   *   that was the primary may have come back as a standby. Without it, any role is accepted and none is queried.
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

  listen(channel: string, subscriber: Subscriber, deadline: number): Promise<Subscription> {
    return this.#use((database) => database.listen(channel, subscriber, deadline))
  }

  /** Does not count the connections that query the role or listen. */
  get pool(): PoolUse | undefined {
    return this.#open?.pool
  }

  async role(deadline: number): Promise<Role> {
    this.#probe ??= withoutFailure(this.#connect(1, undefined), () => {
      this.#probe = undefined
    })
    const [row] = await (await this.#probe).query(ROLE, [], deadline)
    return roleOf(row)
  }

  /** Closes every connection. The next use opens new ones. */
  async close(): Promise<void> {
    const open = [this.#database, this.#probe]
    this.#database = undefined
    this.#open = undefined
    this.#probe = undefined
    await Promise.allSettled(open.map(async (database) => (await database)?.close()))
  }

  async #use<T>(call: (database: Database) => Promise<T>): Promise<T> {
    this.#database ??= withoutFailure(this.#connect(this.#limits.poolSize, this.#refuse), () => {
      this.#database = undefined
    })
    this.#open = await this.#database
    return await call(this.#open)
  }

  async #connect(
    connections: number,
    refuse: ((role: Role) => string | undefined) | undefined,
  ): Promise<NodePostgres> {
    const [conninfo, host] = [this.#conninfo, this.#host]
    const { default: pg } = await import('pg')
    const Client = pg.Client as unknown as ClientClass
    const config = {
      ...(await poolConfigOf(conninfo, host, connections, this.#limits.operationTimeout)),
      ...(refuse && { verify: verifier(refuse) }),
      Client: conninfo.tls.channelBinding === 'require' ? withChannelBinding(Client, conninfo, host) : Client,
    }
    const second = await secondAttemptOf(conninfo, host)
    const newPool = (max: number): PoolLike =>
      second === undefined
        ? (new pg.Pool({ ...config, max } as object) as unknown as PoolLike)
        : poolWithTwoAttempts(pg, { ...config, max }, second)
    return new NodePostgres(
      newPool(connections),
      true,
      newPool,
      conninfo.originOf('host') === DEFAULT_DB.origin ? DEFAULT_DB.advice : '',
    )
  }
}

function roleOf(row: Row | undefined): Role {
  return { standby: row?.[0] === 't', readOnly: row?.[1] === 'on', timeline: Number(row?.[2]) }
}

/** A `verify` function of pg-pool: called for every new connection before it is used. */
function verifier(refuse: (role: Role) => string | undefined) {
  return (client: PoolClientLike, done: (error?: Error) => void): void => {
    const query = new ExtendedQuery(ROLE.text, undefined, [])
    client.query(query, (error) => {
      if (error) return done(error)
      const refusal = refuse(roleOf(query.rows[0]))
      done(
        refusal === undefined
          ? undefined
          : new SessionPgsqlError('SERVER_DOWN', `Cannot use this host: ${refusal}.`),
      )
    })
  }
}

/** Clears the cached promise if connecting fails, so that the next use tries again. */
function withoutFailure<T>(connecting: Promise<T>, forget: () => void): Promise<T> {
  connecting.catch(forget)
  return connecting
}
