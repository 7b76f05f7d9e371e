/**
 * The parts of node-postgres and PGlite that are used here, as structures. So the types of this package need
 * neither of them installed, and a pool of another copy or version fits. A type test pins them to the real ones.
 */
import type { Row } from './database.ts'

/** `pg.Connection`, as a Submittable is given it. */
export interface ConnectionLike {
  readonly stream: { cork(): void; uncork(): void }
  /** The texts of the statements that have been parsed, by their names. */
  readonly parsedStatements: Readonly<Record<string, string>>
  parse(statement: { readonly text: string; readonly name: string | undefined }): void
  bind(portal: {
    readonly statement: string | undefined
    readonly values: readonly (string | Buffer | null)[]
  }): void
  execute(portal: object): void
  sync(): void
}

export type QueryCallback = (error: Error | null, result?: { readonly rows: readonly Row[] }) => void

/** `pg.Submittable`: a query of somebody's own, which the client calls back with what the server says. */
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

/** `pg.PoolClient`: one connection, out of the pool. */
export interface PoolClientLike {
  /** `pg.Connection`. The client of pg-native has none, and carries no Submittable. */
  readonly connection?: unknown
  query(query: SubmittableLike, callback: QueryCallback): void
  /** Gives it back; with `true` or an error it is closed and not used again. */
  release(destroy?: Error | boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'notice', listener: (notice: { readonly code?: string | undefined }) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'notice', listener: (notice: { readonly code?: string | undefined }) => void): unknown
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

/**
 * `pg.PoolConfig`, as far as a name is made of it; the rest is handed to node-postgres as it is.
 */
export interface PoolConfigLike {
  readonly connectionString?: string | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly user?: string | undefined
  readonly database?: string | undefined
  readonly password?: string | (() => string | Promise<string>) | undefined
  readonly ssl?: unknown
  /** Connections at most; without it our `poolSize` is the limit. */
  readonly max?: number | undefined
  /** Not one of node-postgres': what placement and status call this server. */
  readonly name?: string | undefined
  /** So that a single connection, `pg.Client`, does not pass for options. */
  readonly connect?: undefined
}

/** What is handed to `new pg.Pool` for an entry that was given as a conninfo string or URL. */
export interface NodePostgresConfig {
  /** A host name, an address, or a folder with a socket. */
  host: string
  port: number
  user: string
  database: string
  /** Asked only if the server wants one, at every new connection, so that a changed password file is seen. */
  password: () => Promise<string>
  ssl: false | NodePostgresTls
  /** Left out for PostgreSQL's own negotiation, which every server knows. */
  sslnegotiation?: 'direct'
  /** Connections at most. */
  max: number
  /** Milliseconds, as node-postgres wants it. */
  connectionTimeoutMillis: number
  keepAlive: boolean
  /** Milliseconds until the first probe; left out for the operating system's. */
  keepAliveInitialDelayMillis?: number
  application_name: string
  options?: string
}

export interface NodePostgresTls {
  /** Authorities, certificate and key lie in here, where nothing can print them. */
  secureContext: import('node:tls').SecureContext
  rejectUnauthorized: boolean
  servername?: string
  checkServerIdentity(host: string, certificate: import('node:tls').PeerCertificate): Error | undefined
}

/** A PGlite instance. */
export interface PgliteLike {
  readonly waitReady: Promise<void>
  readonly dataDir?: string | undefined
  query(text: string, parameters?: unknown[], options?: PgliteOptions): Promise<PgliteResult>
  exec(text: string): Promise<unknown>
  transaction<T>(work: (transaction: PgliteTransaction) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export interface PgliteTransaction {
  query(text: string, parameters?: unknown[], options?: PgliteOptions): Promise<PgliteResult>
  exec(text: string): Promise<unknown>
}

export interface PgliteOptions {
  rowMode?: 'array'
  /** How a column is decoded, by the OID of its type. */
  parsers?: Record<number, (value: string) => unknown>
  /** How a parameter is encoded, by the OID of its type. */
  serializers?: Record<number, (value: unknown) => string>
  /** The types of the parameters, by OID. */
  paramTypes?: number[]
}

export interface PgliteResult {
  readonly rows: unknown[]
}
