import type { Codec } from '../codec/codec.ts'
import type { ColumnDefinitions } from '../session/columns.ts'
import type { IdsMode } from '../session/stored-id.ts'
import type { DatabaseOption } from './database-entries.ts'

export type CodecName = 'json' | 'php' | 'php_serialize' | 'php_binary'

/**
 * Settles a conflict instead of the merge. It may change its arguments. It is called again, with new ones, if the
 * session changes again before the result is stored. It may return a promise; the write rejects with TIMEOUT if that does
 * not settle within `operationTimeout`.
 *
 * @param ours what this request wants to store
 * @param theirs what another request has stored meanwhile
 * @param base what this request started from; the empty session if there was none
 * @returns the data to store
 */
export type ConflictFunction<Data> = (
  ours: Data,
  theirs: Data,
  base: Data | undefined,
) => Data | Promise<Data>

export type ConflictRule = 'merge' | 'overwrite' | 'error'

/** Receives log messages. `console`, pino and winston loggers have this form. */
export interface Logger {
  debug(message: string, error?: unknown): void
  info(message: string, error?: unknown): void
  warn(message: string, error?: unknown): void
  error(message: string, error?: unknown): void
}

/** A key of the option `encryption`. */
export interface EncryptionKey {
  /** Stored with what the key encrypts, so not secret: 1 to 32 characters of `A-Z a-z 0-9 _ -`. */
  readonly id: string
  /** 32 random bytes, or these bytes as base64 or hexadecimal text. */
  readonly key: Uint8Array | string
}

/**
 * Encryption of data at rest. A field that is unset comes from the environment: `SESSION_PGSQL_ENCRYPTION_KEYS`,
 * `SESSION_PGSQL_ENCRYPTION_WRITE` and `SESSION_PGSQL_ENCRYPTION_ACCEPT_PLAIN`.
 */
export interface EncryptionOption {
  /**
   * The keys. The first encrypts, all decrypt. Also as text: `id:key`, separated by blanks, commas or line ends.
   */
  readonly keys?: readonly EncryptionKey[] | string | undefined
  /** Whether data is stored encrypted. `false` only reads it, until every process can; it needs `acceptPlain`. @default true */
  readonly write?: boolean | undefined
  /** Whether data that is stored in plain text is read. If not, it is UNDECODABLE. @default false */
  readonly acceptPlain?: boolean | undefined
}

/**
 * The options of a save handler. Durations are in seconds. Unset options fall back to php.ini
 * (`session_pgsql.gc_interval`), then to environment variables (`SESSION_PGSQL_GC_INTERVAL`), then to the defaults. An
 * option that is `undefined` is unset.
 */
export interface SaveHandlerOptions<
  Data = Record<string, unknown>,
  Columns extends ColumnDefinitions<Data> = ColumnDefinitions<Data>,
> {
  /**
   * The database servers: libpq conninfo strings or URLs, separated by `;` or in an array; options for a
   * `pg.Pool`; a `pg.Pool`, which the save handler never ends; a PGlite instance; `pglite:` (in memory) or
   * `pglite:./folder`.
   *
   * @default DATABASE_URL, else libpq's PGHOST, PGDATABASE, …, else 'host=localhost dbname=php_session user=nobody'
   */
  db?: DatabaseOption | undefined
  /**
   * The session table: `table` or `schema.table`, taken literally. Put a name that contains a dot into double quotes.
   * @default 'php_session'
   */
  table?: string | undefined
  /**
   * Create the session table and the journal if they do not exist, and add missing columns if the role is allowed to. A
   * process creates the table only when it opens it for the first time; a table that is missing later is TABLE_MISSING.
   * @default true
   */
  createTable?: boolean | undefined
  /** With several servers: always use the first that answers, instead of sharding the sessions. @default false */
  failoverMode?: boolean | undefined
  /** Do not write unchanged sessions. @default false in the save handler, true in the adapters */
  shortCircuit?: boolean | undefined
  /**
   * With `shortCircuit`: seconds after which the expiry of an unchanged session is refreshed. `Infinity` for never, as
   * session_pgsql does.
   * @default a tenth of the session's lifetime
   */
  refreshAfter?: number | undefined
  /** Remove only the data of expired sessions; keep their counters, addresses and dates. @default false */
  keepExpired?: boolean | undefined
  /** With `keepExpired`: seconds until an expired row is removed completely. @default Infinity */
  keepExpiredFor?: number | undefined
  /**
   * Seconds for which a request that read a session before it expired may still save or touch it. Reads never return
   * an expired session. 0: a session that has expired is gone at once. Garbage collection waits as long, so set the
   * same value in every process that uses the table. At most 3600.
   * @default 60
   */
  expiryGrace?: number | undefined
  /**
   * Seconds after its beginning at which a session ends, however often it is used: the absolute lifetime, in addition to
   * the idle lifetime (`gcMaxlifetime`, or the cookie's). Reads, writes and touches apply it, and `endsAt` of a record
   * is the time of the end. A session begins with its first write; see `since` of `WriteOptions` for a new id. Set the same
   * value in every process that uses the table.
   * @default Infinity
   */
  maxLifetime?: number | undefined
  /**
   * Whether PostgreSQL flushes a touch to disk, and sends it to a synchronous standby, before it answers. Without, a crash
   * of the server within about half a second of a touch may restore the expiry and the request count from before it. A
   * touch that also stores metadata, and all other changes, always wait. @default false
   */
  durableTouches?: boolean | undefined
  /**
   * Whether the sessions that this process ends are announced to all processes, by PostgreSQL's NOTIFY: they emit the
   * event `ended`. A process that listens to `ended` or `missed` opens one more connection to each server. Set it in
   * every process that uses the table. See docs/announcements.md. @default false
   */
  announce?: boolean | undefined
  /** Seconds between two garbage collections; 0 for never, negative for after every access. @default 3600 */
  gcInterval?: number | undefined
  /** Seconds that a session lives after its last access, unless a write sets `lifetime`. @default 1440 */
  gcMaxlifetime?: number | undefined
  /** The session name (the name of its cookie), stored with it. @default 'PHPSESSID' */
  name?: string | undefined
  /**
   * Encrypts the data and error messages of sessions at rest, with AES-256-GCM. Names, dates, addresses, counters and the
   * custom field stay readable. See docs/encryption.md for the order of steps.
   * @default off, unless SESSION_PGSQL_ENCRYPTION_KEYS is set
   */
  encryption?: EncryptionOption | undefined
  /** How data is stored as text: JSON, one of PHP's formats, or a codec of your own. @default 'json' */
  codec?: CodecName | Codec<Data> | undefined
  /**
   * What a write does if another request has changed the session since it was read: merge both changes, overwrite the
   * other change, reject with CONFLICT, or call a function that returns the data to store. A merge goes key by key in
   * objects and element by element in lists; a scalar that both changed is ours. See docs/merging.md.
   * @default 'merge'
   */
  conflict?: ConflictRule | ConflictFunction<Data> | undefined
  /**
   * Columns of the session table whose values are computed from the data whenever it is written, for joins and for
   * `destroyWhere`. A new table is created with them; `session-pgsql init --columns user_id:bigint:index` adds them to
   * an existing one. See docs/columns.md.
   *
   * ```ts
   * columns: { user_id: { type: 'bigint', value: (data: SessionData) => data.user?.id, index: true } }
   * ```
   *
   * As text: `user_id:bigint:index,tenant:text`, for processes that use the columns but do not compute them.
   * @default none
   */
  columns?: (Columns & ColumnDefinitions<Data>) | undefined
  /** Send concurrent requests as one statement. @default true */
  batch?: boolean | undefined
  /** Seconds after which an operation rejects with TIMEOUT. Its statement is then canceled on the server. @default 5 */
  operationTimeout?: number | undefined
  /**
   * Maximum number of connections to each server. A quarter of them, at least one, is reserved for reading sessions;
   * a single connection is used for everything.
   * @default 10
   */
  poolSize?: number | undefined
  /**
   * The pattern that a whole id must match; an id that does not never reaches the database. `'php'`: letters, digits,
   * comma, hyphen and underscore.
   * @default printable ASCII without blanks, 1 to 256 characters
   */
  idPattern?: RegExp | 'php' | undefined
  /**
   * The form in which ids are stored. `'hashed'`: the table, its backups and PostgreSQL's log contain no id with which
   * a reader could take over a session. A table with plain ids is moved there in steps; see docs/ids-at-rest.md.
   * `'migrate'`: stores new sessions hashed, and finds both forms.
   * @default 'plain'
   */
  ids?: IdsMode | undefined
  /**
   * With several servers: what a read of a session does while its home server is down and no fallback server has it.
   * Treats it as absent, as session_pgsql does, or rejects with SERVER_DOWN.
   * @default 'absent'
   */
  whenHomeIsDown?: 'absent' | 'error' | undefined
  /** Receives log messages; `false` for none. @default warnings and errors are written to stderr */
  logger?: Logger | false | undefined
}
