import { setTimeout as sleep } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { encodeArray } from './array.ts'
import {
  type Database,
  type Parameter,
  type PoolUse,
  plain,
  type Query,
  type Row,
  type Statement,
} from './database.ts'
import type { PoolClientLike, PoolLike } from './drivers.ts'
import { ExtendedQuery } from './extended-query.ts'
import {
  breaksConnection,
  codeOf,
  connectFault,
  isAboutNames,
  statementFault,
  timeoutFault,
} from './faults.ts'

/** PostgreSQL by node-postgres, on the library's pool or on the caller's. */
export class NodePostgres implements Database {
  readonly #pool: PoolLike
  readonly #owned: boolean
  /** Connections that are in use here. */
  #used = 0
  /** False after an error showed that the pooler does not support prepared statements. */
  #named = true
  readonly #ignorePoolError: (error: unknown) => void = () => {}

  /**
   * @param pool the pool to take connections from
   * @param owned whether `close` ends the pool; the caller's pool stays open
   */
  constructor(pool: PoolLike, owned: boolean) {
    this.#pool = pool
    this.#owned = owned
    // If an idle connection breaks, the pool removes it and emits 'error', which would end the process without a
    // listener.
    pool.on('error', this.#ignorePoolError)
    // At once: the server may end a connection in the same packet in which it accepts it.
    pool.on('connect', noticesOf)
  }

  async query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    try {
      return await this.#once(statement, parameters, deadline)
    } catch (error) {
      if (statement.name === undefined || !isAboutNames(error)) throw statementFault(error, true)
    }
    // Nothing was executed: the prepared statement does not exist, or its plan is stale because the table changed
    // (0A000). Sent once more without a name, it works.
    return await this.#once({ ...statement, name: undefined }, parameters, deadline).catch((error) => {
      throw statementFault(error, true)
    })
  }

  async #once(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    const client = await this.#connect(deadline)
    let broken = false
    try {
      return await this.#send(client, statement, parameters, deadline)
    } catch (error) {
      broken = breaksConnection(error)
      // A pooler that shares connections causes this error again.
      if (['26000', '42P05'].includes(codeOf(error) ?? '')) this.#named = false
      throw error
    } finally {
      this.#release(client, broken)
    }
  }

  async transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T> {
    const client = await this.#connect(deadline)
    let broken = true
    let committing = false
    const run: Query = async (statement, parameters) => {
      try {
        return await this.#send(client, { ...statement, name: undefined }, parameters, deadline)
      } catch (error) {
        // Before COMMIT is sent, nothing can have been committed.
        throw statementFault(error, committing)
      }
    }
    try {
      await run(BEGIN, [])
      await run(LIMIT_TRANSACTION, [String(Math.max(1, Math.floor(deadline - performance.now())))])
      const result = await work(run)
      committing = true
      await run(plain('COMMIT'), [])
      broken = false
      return result
    } catch (error) {
      // If ROLLBACK fails, the connection is closed, and the first error is still thrown.
      if (!committing)
        broken = await run(plain('ROLLBACK'), []).then(
          () => false,
          () => true,
        )
      throw error
    } finally {
      this.#release(client, broken)
    }
  }

  get pool(): PoolUse {
    const { totalCount: size, idleCount: idle, waitingCount: pending, options } = this.#pool
    return { size, idle, pending, max: options.max }
  }

  async close(): Promise<void> {
    if (this.#owned) await this.#pool.end()
    // The library's pool keeps its listeners, because its sockets may break after `end`.
    else {
      this.#pool.removeListener('error', this.#ignorePoolError)
      this.#pool.removeListener('connect', noticesOf)
    }
  }

  async #connect(deadline: number): Promise<PoolClientLike> {
    const left = deadline - performance.now()
    if (left <= 0) throw timeoutFault('waiting for a connection', false)
    const connecting = this.#pool.connect()
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(timeoutFault('waiting for a connection', false)), left)
    })
    try {
      const client = await Promise.race([connecting, timeout])
      this.#used++
      return client
    } catch (error) {
      // A connection that is ready after the deadline goes back to the pool.
      connecting.then(
        (client) => client.release(),
        () => {},
      )
      const fault = connectFault(error)
      const hasNone = this.#used === 0 && this.#pool.idleCount === 0
      if (fault.sqlState !== TOO_MANY_CONNECTIONS || hasNone) throw fault
    } finally {
      clearTimeout(timer)
    }
    // The server accepts no more connections: wait for one of the open ones.
    await sleep(TOO_MANY_DELAY)
    return this.#connect(deadline)
  }

  #release(client: PoolClientLike, broken: boolean): void {
    this.#used--
    client.release(broken)
  }

  /** Sends a statement on this connection. @throws the error of node-postgres, or TIMEOUT */
  #send(
    client: PoolClientLike,
    { text, name }: Statement,
    parameters: readonly Parameter[],
    deadline: number,
  ): Promise<Row[]> {
    if (client.connection === undefined) throw unsupportedClientFault()
    const notices = noticesOf(client)
    notices.unreplicated = false
    const query = new ExtendedQuery(text, this.#named ? name : undefined, parameters.map(encode))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(timeoutFault('waiting for the answer', true)),
        Math.max(1, deadline - performance.now()),
      )
      // With a callback: node-postgres' promises keep the rows of later queries alive until the next full garbage
      // collection. Measured: a fifth of the time of a read.
      client.query(query, (error) => {
        clearTimeout(timer)
        if (error) reject(error)
        else if (notices.unreplicated) reject(unreplicatedFault())
        else resolve(query.rows)
      })
    })
  }
}

/** In every other isolation level a statement that waited for a row lock fails. */
const BEGIN = plain('BEGIN ISOLATION LEVEL READ COMMITTED')

/**
 * Ends what the transaction waits for at its deadline, instead of at timeouts of the role or the server. $1 the
 * milliseconds left. A transaction_timeout, which PostgreSQL has since version 17, can be disabled but not extended.
 */
const LIMIT_TRANSACTION = plain(`
  SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $1, true),
    pg_catalog.set_config('idle_in_transaction_session_timeout', $1, true),
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
      THEN pg_catalog.set_config('transaction_timeout', '0', true) END`)

/** SQLSTATE too_many_connections: the limit of the server, the database or the role is reached. */
const TOO_MANY_CONNECTIONS = '53300'

/** Milliseconds to wait until one of the open connections may be free. */
const TOO_MANY_DELAY = 20

interface Notices {
  /** Whether the server committed without an acknowledgement of its synchronous standby. */
  unreplicated: boolean
}

const noticesByClient = new WeakMap<PoolClientLike, Notices>()

/** Returns the notices of a connection since its last statement. The first call subscribes to them. */
function noticesOf(client: PoolClientLike): Notices {
  const known = noticesByClient.get(client)
  if (known !== undefined) return known
  const notices: Notices = { unreplicated: false }
  noticesByClient.set(client, notices)
  client.on('notice', (notice) => {
    // Recognized by the C function that reports it, because the text is translated.
    if ((notice as { routine?: unknown }).routine === 'SyncRepWaitForLSN') notices.unreplicated = true
  })
  // A connection that breaks between two queries emits 'error', which would end the process without a listener. The
  // next query on it fails as well.
  client.on('error', () => {})
  return notices
}

function encode(parameter: Parameter): string | Buffer | null {
  if (parameter === null) return null
  return typeof parameter === 'object' ? encodeArray(parameter) : String(parameter)
}

function unsupportedClientFault(): SessionPgsqlError {
  return new SessionPgsqlError(
    'INVALID_OPTION',
    'db: expected a `pg.Pool` with JavaScript clients; received a pool with other clients, such as those of pg-native. Pass a `pg.Pool`.',
  )
}

function unreplicatedFault(): SessionPgsqlError {
  return new SessionPgsqlError(
    'SERVER_DOWN',
    'The server committed the change, but its synchronous standby did not acknowledge it.',
    { outcomeUnknown: true },
  )
}
