/**
 * Structural types for the parts of node-postgres and PGlite that the library uses. The library's types therefore need
 * neither package installed, and a pool from another copy or version fits. A type test checks them against the real
 * types.
 */
import type { Row } from './database.ts'

/** `pg.Connection`, as node-postgres passes it to a Submittable. */
export interface ConnectionLike {
  /** The WebSocket of Neon's serverless driver has no `cork`, and collects messages itself. */
  readonly stream: { cork?(): void; uncork?(): void; destroy(): void }
  /** The texts of the prepared statements, by name. */
  readonly parsedStatements: Readonly<Record<string, string>>
  parse(statement: { readonly text: string; readonly name: string | undefined }): void
  bind(portal: {
    readonly statement: string | undefined
    readonly values: readonly (string | Buffer | null)[]
  }): void
  execute(portal: object): void
  sync(): void
}

/** Called with the result of a query, or with its error. */
export type QueryCallback = (error: Error | null, result?: { readonly rows: readonly Row[] }) => void

/** `pg.Submittable`: a custom query. The client passes the server's messages to its handlers. */
export interface SubmittableLike {
  readonly text: string
  readonly name: string | undefined
  callback: QueryCallback | undefined
  submit(connection: ConnectionLike): void
  handleDataRow(message: { readonly fields: Row }): void
  handleCommandComplete(): void
  handleReadyForQuery(): void
  handleError(error: Error): void
}

/** `pg.PoolClient`: one connection of the pool. */
export interface PoolClientLike {
  /** `pg.Connection`. Undefined for pg-native's client, which does not support Submittables. */
  readonly connection?: unknown
  query(query: SubmittableLike, callback: QueryCallback): void
  /** Returns the client to the pool; with `true` or an error the pool closes it instead. */
  release(destroy?: Error | boolean): void
  /** Lets the process end while the connection is open. Not every driver has it. */
  unref?(): void
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
  on(event: 'notification', listener: (message: { readonly payload?: string | undefined }) => void): unknown
  on(event: 'notice', listener: (notice: { readonly code?: string | undefined }) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'notice', listener: (notice: { readonly code?: string | undefined }) => void): unknown
}

/** The class `pg.Client`, as `pg.Pool` uses it. */
export type ClientClass = new (
  config: never,
) => {
  readonly connection?: unknown
  connect(callback: (error: Error | null) => void): void
  end(callback: () => void): void
}

/** `pg.Pool`. */
export interface PoolLike {
  readonly totalCount: number
  readonly idleCount: number
  readonly waitingCount: number
  readonly options: { readonly max: number }
  connect(): Promise<PoolClientLike>
  end(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect', listener: (client: PoolClientLike) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'connect', listener: (client: PoolClientLike) => void): unknown
}

/** The options of `pg.PoolConfig`. The library reads the typed ones, and passes all of them on to node-postgres. */
export interface PoolConfigLike {
  readonly connectionString?: string | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly user?: string | undefined
  readonly database?: string | undefined
  readonly password?: string | (() => string | Promise<string>) | undefined
  readonly ssl?: unknown
  /** Maximum number of connections. Default: the option `poolSize`. */
  readonly max?: number | undefined
  /** The server's name in placement and in `status()`. Not an option of node-postgres. */
  readonly name?: string | undefined
  /** Excludes a single connection (`pg.Client`). */
  readonly connect?: undefined

  readonly Client?: unknown
  readonly Promise?: unknown
  readonly allowExitOnIdle?: unknown
  readonly application_name?: unknown
  readonly binary?: unknown
  readonly client_encoding?: unknown
  readonly connectionTimeoutMillis?: unknown
  readonly enableChannelBinding?: unknown
  readonly fallback_application_name?: unknown
  readonly idleTimeoutMillis?: unknown
  readonly idle_in_transaction_session_timeout?: unknown
  readonly keepAlive?: unknown
  readonly keepAliveInitialDelayMillis?: unknown
  readonly lock_timeout?: unknown
  readonly log?: unknown
  readonly maxLifetimeSeconds?: unknown
  readonly maxUses?: unknown
  readonly min?: unknown
  readonly onConnect?: unknown
  readonly options?: unknown
  readonly pipeline?: unknown
  readonly query_timeout?: unknown
  readonly scramMaxIterations?: unknown
  readonly sslnegotiation?: unknown
  readonly statement_timeout?: unknown
  readonly stream?: unknown
  readonly types?: unknown
  readonly verify?: unknown
}

/** The options for `new pg.Pool` if the entry is a conninfo string or URL. */
export interface NodePostgresConfig {
  /** A host name, an IP address, or a directory with a Unix socket. */
  host: string
  port: number
  user: string
  database: string
  /**
   * Called at every new connection for which the server requires a password, so that a changed password file is read.
   */
  password: () => Promise<string>
  ssl: false | NodePostgresTls
  /** Undefined: the negotiation by SSLRequest, which every server supports. */
  sslnegotiation?: 'direct'
  /** Maximum number of connections. */
  max: number
  /** Milliseconds. */
  connectionTimeoutMillis: number
  keepAlive: boolean
  /** Milliseconds until the first keepalive probe. Default: the operating system's. */
  keepAliveInitialDelayMillis?: number
  application_name: string
  options?: string
}

/** TLS options of a connection. */
export interface NodePostgresTls {
  /** Holds the certificate authorities, the certificate and the key, so that they cannot be printed. */
  secureContext: import('node:tls').SecureContext
  rejectUnauthorized: boolean
  servername?: string
  checkServerIdentity(host: string, certificate: import('node:tls').PeerCertificate): Error | undefined
}

/** The `sql` that `postgres()` of postgres.js returns. The library reads its options. */
export interface PostgresJsLike {
  // biome-ignore lint/suspicious/noExplicitAny: the template function takes any value
  (first: any, ...rest: any[]): unknown
  unsafe(text: string): unknown
  /** Undefined for the `sql` of a transaction or of a reserved connection. */
  readonly options: {
    readonly host: readonly string[]
    readonly port: readonly number[]
    /** The file of a Unix socket. */
    readonly path?: string | false | undefined
    readonly database: string
    readonly user: string
    readonly pass: string | null | (() => string | Promise<string>)
    readonly ssl: string | boolean | object
    /** Startup parameters. */
    readonly connection?: object | undefined
    readonly socket?: unknown
  }
}

/** A PGlite instance. */
export interface PgliteLike {
  readonly waitReady: Promise<void>
  readonly dataDir?: string | undefined
  query(text: string, parameters?: unknown[], options?: PgliteOptions): Promise<PgliteResult>
  exec(text: string): Promise<unknown>
  transaction<T>(work: (transaction: PgliteTransaction) => Promise<T>): Promise<T>
  /** Resolves to a function that ends the subscription. */
  listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>>
  close(): Promise<void>
}

/** A PGlite transaction. */
export interface PgliteTransaction {
  query(text: string, parameters?: unknown[], options?: PgliteOptions): Promise<PgliteResult>
  exec(text: string): Promise<unknown>
}

/** Query options of PGlite. */
export interface PgliteOptions {
  rowMode?: 'array'
  /** Decoders of columns, by the OID of the type. */
  parsers?: Record<number, (value: string) => unknown>
  /** Encoders of parameters, by the OID of the type. */
  serializers?: Record<number, (value: unknown) => string>
  /** OIDs of the parameters' types. */
  paramTypes?: number[]
}

/** A query result of PGlite. */
export interface PgliteResult {
  readonly rows: unknown[]
}
