import { setTimeout as sleep } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { AbandonedConnections } from './abandoned.ts'
import { encodeArray } from './array.ts'
import {
  type Database,
  type Parameter,
  type PoolUse,
  plain,
  type Query,
  type Row,
  type Statement,
  type Subscriber,
  type Subscription,
} from './database.ts'
import type { ConnectionLike, PoolClientLike, PoolLike } from './drivers.ts'
import { ExtendedQuery, Probe } from './extended-query.ts'
import {
  breaksConnection,
  codeOf,
  connectFault,
  isAboutNames,
  statementFault,
  timeoutFault,
} from './faults.ts'
import { listen } from './listening.ts'

/** PostgreSQL by node-postgres, on the library's pool or on the caller's. */
export class NodePostgres implements Database {
  readonly #pool: PoolLike
  readonly #owned: boolean
  readonly #abandoned: AbandonedConnections
  /** Connections that are in use here. */
  #used = 0
  /** A connection that last answered by then has died silently, in milliseconds of `performance.now()`. */
  #deadUntil = Number.NEGATIVE_INFINITY
  /** False after an error showed that the pooler does not support prepared statements. */
  #named = true
  readonly #ignorePoolError: (error: unknown) => void = () => {}

  readonly #subscriptions = new Set<Subscription>()
  readonly #newPool: (connections: number) => PoolLike
  readonly #advice: string

  /**
   * @param pool the pool to take connections from
   * @param owned whether `close` ends the pool; the caller's pool stays open
   * @param newPool returns another pool for the same server, with at most this number of connections
   * @param advice a sentence for the message of a failed connection; empty for none
   */
  constructor(
    pool: PoolLike,
    owned: boolean,
    newPool: (connections: number) => PoolLike,
    advice: string = '',
  ) {
    this.#pool = pool
    this.#owned = owned
    this.#newPool = newPool
    this.#advice = advice
    this.#abandoned = new AbandonedConnections((pool.options as { readonly stream?: unknown }).stream)
    // If an idle connection breaks, the pool removes it and emits 'error', which would end the process without a
    // listener.
    pool.on('error', this.#ignorePoolError)
    // At once: the server may end a connection in the same packet in which it accepts it.
    pool.on('connect', stateOf)
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
      if (!committing && stateOf(client).answer === undefined)
        broken = await run(plain('ROLLBACK'), []).then(
          () => false,
          () => true,
        )
      throw error
    } finally {
      this.#release(client, broken, true)
    }
  }

  async listen(channel: string, { onMessage, onEnd }: Subscriber, deadline: number): Promise<Subscription> {
    const subscriber = {
      onMessage,
      onEnd: () => {
        this.#subscriptions.delete(subscription)
        onEnd()
      },
    }
    const subscription = await listen(this.#newPool(1), channel, subscriber, deadline)
    this.#subscriptions.add(subscription)
    return subscription
  }

  get pool(): PoolUse {
    const { totalCount: size, idleCount: idle, waitingCount: pending, options } = this.#pool
    return { size, idle, pending, max: options.max }
  }

  async close(): Promise<void> {
    this.#abandoned.close()
    for (const { end } of this.#subscriptions) end()
    if (this.#owned) await this.#pool.end()
    // The library's pool keeps its listeners, because its sockets may break after `end`.
    else {
      this.#pool.removeListener('error', this.#ignorePoolError)
      this.#pool.removeListener('connect', stateOf)
    }
  }

  /** Takes a connection from the pool. One that was idle for long is probed, and closed if it does not answer. */
  async #connect(deadline: number): Promise<PoolClientLike> {
    for (;;) {
      const client = await this.#checkOut(deadline)
      const state = stateOf(client)
      if (!isStale(state)) return client
      if (state.heardAt > this.#deadUntil && (await answersProbe(client))) return client
      this.#deadUntil = Math.max(this.#deadUntil, state.heardAt)
      // Without a goodbye, for which the socket of a dead connection would wait for minutes.
      ;(client.connection as ConnectionLike | undefined)?.stream.destroy()
      this.#giveBack(client, true)
    }
  }

  async #checkOut(deadline: number): Promise<PoolClientLike> {
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
      const fault = connectFault(error, this.#advice)
      const hasNone = this.#used === 0 && this.#pool.idleCount === 0
      if (fault.sqlState !== TOO_MANY_CONNECTIONS || hasNone) throw fault
    } finally {
      clearTimeout(timer)
    }
    // The server accepts no more connections: wait for one of the open ones.
    await sleep(TOO_MANY_DELAY)
    return this.#checkOut(deadline)
  }

  /** Returns a connection to the pool: at once, or when its statement that timed out is canceled. */
  #release(client: PoolClientLike, broken: boolean, inTransaction = false): void {
    const { answer } = stateOf(client)
    if (answer === undefined) this.#giveBack(client, broken)
    else void this.#free(client, answer, inTransaction).then((reusable) => this.#giveBack(client, !reusable))
  }

  #giveBack(client: PoolClientLike, broken: boolean): void {
    this.#used--
    client.release(broken)
  }

  /** @returns true if the connection can be used again */
  async #free(
    client: PoolClientLike,
    answer: Promise<Error | null>,
    inTransaction: boolean,
  ): Promise<boolean> {
    const reusable = await this.#abandoned.free(client, answer)
    stateOf(client).answer = undefined
    if (!reusable || !inTransaction) return reusable
    return this.#send(client, plain('ROLLBACK'), [], performance.now() + ROLLBACK_TIMEOUT).then(
      () => true,
      () => false,
    )
  }

  /** Sends a statement on this connection. @throws the error of node-postgres, or TIMEOUT */
  #send(
    client: PoolClientLike,
    { text, name }: Statement,
    parameters: readonly Parameter[],
    deadline: number,
  ): Promise<Row[]> {
    if (client.connection === undefined) throw unsupportedClientFault()
    const state = stateOf(client)
    state.unreplicated = false
    const query = new ExtendedQuery(text, this.#named ? name : undefined, parameters.map(encode))
    return new Promise((resolve, reject) => {
      let answerLate: ((error: Error | null) => void) | undefined
      const timer = setTimeout(
        () => {
          state.answer = new Promise((answered) => {
            answerLate = answered
          })
          reject(timeoutFault('waiting for the answer', true))
        },
        Math.max(1, deadline - performance.now()),
      )
      // With a callback: node-postgres' promises keep the rows of later queries alive until the next full garbage
      // collection. Measured: a fifth of the time of a read.
      client.query(query, (error) => {
        if (answerLate !== undefined) return answerLate(error)
        clearTimeout(timer)
        hear(state)
        if (error) reject(error)
        else if (state.unreplicated) reject(unreplicatedFault())
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

/** Milliseconds for the ROLLBACK of an abandoned connection. */
const ROLLBACK_TIMEOUT = 1000

/**
 * Milliseconds for which an idle connection is trusted. The first statement after that costs one round trip more.
 * Without the probe, each connection that died while the machine was suspended made a caller wait for operationTimeout.
 */
const TRUSTED_FOR = 2000

/** Milliseconds that an idle connection has to answer the probe. */
const PROBE_TIMEOUT = 500

/** What is known about a connection. */
interface ConnectionState {
  /** When the server last answered, in milliseconds of `performance.now()`, and by the wall clock. */
  heardAt: number
  heardAtDate: number
  /** Whether the server committed the last statement without an acknowledgement of its synchronous standby. */
  unreplicated: boolean
  /** Set if the last statement timed out: resolves to its error, or to null, when the server answers after all. */
  answer: Promise<Error | null> | undefined
}

const states = new WeakMap<PoolClientLike, ConnectionState>()

/** Returns the state of a connection. The first call subscribes to its notices and errors. */
function stateOf(client: PoolClientLike): ConnectionState {
  const known = states.get(client)
  if (known !== undefined) return known
  const state: ConnectionState = {
    heardAt: performance.now(),
    heardAtDate: Date.now(),
    unreplicated: false,
    answer: undefined,
  }
  states.set(client, state)
  client.on('notice', (notice) => {
    // Recognized by the C function that reports it, because the text is translated.
    if ((notice as { routine?: unknown }).routine === 'SyncRepWaitForLSN') state.unreplicated = true
  })
  // A connection that breaks between two queries emits 'error', which would end the process without a listener. The
  // next query on it fails as well.
  client.on('error', () => {})
  return state
}

function hear(state: ConnectionState): void {
  state.heardAt = performance.now()
  state.heardAtDate = Date.now()
}

/** Looks at both clocks, because the monotonic one may stand still while the machine is suspended. */
function isStale({ heardAt, heardAtDate }: ConnectionState): boolean {
  return performance.now() - heardAt > TRUSTED_FOR || Date.now() - heardAtDate > TRUSTED_FOR
}

function answersProbe(client: PoolClientLike): Promise<boolean> {
  return new Promise((resolve) => {
    // An answer that has arrived is read before setImmediate: this process may have been busy.
    const timer = setTimeout(() => setImmediate(resolve, false), PROBE_TIMEOUT)
    client.query(new Probe(), (error) => {
      clearTimeout(timer)
      if (error === null) hear(stateOf(client))
      resolve(error === null)
    })
  })
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
