import type { Codec } from '../codec/codec.ts'
import type { DatabaseOption } from './database-entries.ts'

export type CodecName = 'json' | 'php' | 'php_serialize' | 'php_binary'

/**
 * Settles a conflict by hand.
 *
 * @param mine what this request wants to store
 * @param theirs what somebody else has stored meanwhile
 * @param seen what this request started from; undefined where there was nothing
 */
export type ConflictFunction<Data> = (mine: Data, theirs: Data, seen: Data | undefined) => Data

export type ConflictRule = 'merge' | 'overwrite' | 'error'

/** Where messages go. `console`, pino and winston fit. */
export interface Logger {
  debug(message: string, error?: unknown): void
  info(message: string, error?: unknown): void
  warn(message: string, error?: unknown): void
  error(message: string, error?: unknown): void
}

/**
 * What a user can set. Every duration is in seconds. Each option can also stand in a php.ini
 * (`session_pgsql.gc_interval`) or in the environment (`SESSION_PGSQL_GC_INTERVAL`); an option given here comes
 * before the php.ini, and that before the environment. An option that is `undefined` counts as not given.
 */
export interface SaveHandlerOptions<Data = Record<string, unknown>> {
  /**
   * The database servers: libpq conninfo strings or URLs, separated by `;` or in an array; options for a
   * `pg.Pool`; a `pg.Pool`, which is not ended here; a PGlite instance; `pglite:` (in memory) or
   * `pglite:./folder`.
   *
   * @default DATABASE_URL, else libpq's PGHOST, PGDATABASE, …, else 'host=localhost dbname=php_session user=nobody'
   */
  db?: DatabaseOption | undefined
  /**
   * The session table: `table` or `schema.table`, taken literally; a name with a dot in double quotes.
   * @default 'php_session'
   */
  table?: string | undefined
  /** Create the table where it is missing, and the journal beside it. @default true */
  createTable?: boolean | undefined
  /** With several servers: always use the first that answers, instead of spreading the sessions. @default false */
  failoverMode?: boolean | undefined
  /** Do not write what has not changed. @default false in the save handler, true in the adapters */
  shortCircuit?: boolean | undefined
  /**
   * With `shortCircuit`: how old the stored expiry may get before an unchanged session is written after all,
   * in seconds. `Infinity`: never, as session_pgsql did.
   * @default a tenth of the session's lifetime
   */
  refreshAfter?: number | undefined
  /** Keep counters, addresses and dates of expired sessions; only their data is removed. @default false */
  keepExpired?: boolean | undefined
  /** With `keepExpired`: seconds until an expired row is removed for good. @default Infinity */
  keepExpiredFor?: number | undefined
  /** Seconds between two garbage collections; 0: never; negative: after every access. @default 3600 */
  gcInterval?: number | undefined
  /** Seconds that a session lives after its last access, where a write does not say otherwise. @default 1440 */
  gcMaxlifetime?: number | undefined
  /** The session's name (that of its cookie), stored with it. @default 'PHPSESSID' */
  name?: string | undefined
  /** How data becomes text: json, or one of PHP's formats, or one's own. @default 'json' */
  codec?: CodecName | Codec<Data> | undefined
  /**
   * What happens when somebody else has changed the session since it was read: the changes of both are
   * brought together, the last one wins, the write fails with CONFLICT, or a function decides.
   * @default 'merge'
   */
  conflict?: ConflictRule | ConflictFunction<Data> | undefined
  /** Send what arrives at the same time as one statement. @default true */
  batch?: boolean | undefined
  /** Seconds after which an operation fails with TIMEOUT rather than wait on. @default 5 */
  operationTimeout?: number | undefined
  /** Connections per server at most. @default 10 */
  poolSize?: number | undefined
  /**
   * What an id must look like as a whole; what does not fit never reaches the database. `'php'`: letters,
   * digits, comma, hyphen and underscore.
   * @default printable ASCII without blanks, 1 to 256 characters
   */
  idPattern?: RegExp | 'php' | undefined
  /**
   * What a session reads as while its server is away and no other one knows it: absent, as in session_pgsql,
   * or the error SERVER_DOWN.
   * @default 'absent'
   */
  whenHomeIsDown?: 'absent' | 'error' | undefined
  /** Where messages go; `false`: nowhere. @default warnings and errors go to stderr */
  logger?: Logger | false | undefined
}
