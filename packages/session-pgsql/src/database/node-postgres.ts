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

/** PostgreSQL by node-postgres: on a pool of our own, or on the caller's. */
export class NodePostgres implements Database {
  readonly #pool: PoolLike
  readonly #owned: boolean
  /** Connections that somebody here has at this moment. */
  #used = 0
  /** False once a pooler has shown that it cannot carry prepared statements. */
  #named = true
  readonly #onPoolError: (error: unknown) => void = () => {}

  /**
   * @param pool where connections come from
   * @param owned whether `close` ends it; the caller's pool stays open
   */
  constructor(pool: PoolLike, owned: boolean) {
    this.#pool = pool
    this.#owned = owned
    // An idle connection that dies is an 'error' of the pool; without a listener it would end the process.
    // There is nothing to do about it: the pool has dropped that connection.
    pool.on('error', this.#onPoolError)
    // From its first moment: the server may end it in the very packet in which it lets us in.
    pool.on('connect', signsOf)
  }

  async query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    try {
      return await this.#once(statement, parameters, deadline)
    } catch (error) {
      if (statement.name === undefined || !isAboutNames(error)) throw statementFault(error, true)
    }
    // Nothing was done: the statement was not even found, or its plan is stale after a change of the table
    // (0A000), which the next connection will not know.
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
      // A pooler that mixes connections will do so again.
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
        // Until COMMIT is sent nothing can have been done.
        throw statementFault(error, committing)
      }
    }
    try {
      await run(plain('BEGIN'), [])
      const result = await work(run)
      committing = true
      await run(plain('COMMIT'), [])
      broken = false
      return result
    } catch (error) {
      // A ROLLBACK that fails must not hide what went wrong; it costs the connection.
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
    // Only now: connections that die while the pool ends are still reported. On a pool of our own the
    // listener stays, for its sockets may outlive `end`.
    else {
      this.#pool.removeListener('error', this.#onPoolError)
      this.#pool.removeListener('connect', signsOf)
    }
  }

  async #connect(deadline: number): Promise<PoolClientLike> {
    const left = deadline - performance.now()
    if (left <= 0) throw timeoutFault('before a connection was free', false)
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
      // One that comes too late goes back to the pool.
      connecting.then(
        (client) => client.release(),
        () => {},
      )
      const fault = connectFault(error)
      const none = this.#used === 0 && this.#pool.idleCount === 0
      if (fault.sqlState !== NO_ROOM || none) throw fault
    } finally {
      clearTimeout(timer)
    }
    // The server has no room for another one: those that there are will have to do.
    await sleep(NO_ROOM_DELAY)
    return this.#connect(deadline)
  }

  #release(client: PoolClientLike, broken: boolean): void {
    this.#used--
    client.release(broken)
  }

  /** Sends on this connection. Rejects with what node-postgres gave, or with TIMEOUT. */
  #send(
    client: PoolClientLike,
    { text, name }: Statement,
    parameters: readonly Parameter[],
    deadline: number,
  ): Promise<Row[]> {
    if (client.connection === undefined) throw foreignFault()
    const signs = signsOf(client)
    signs.unreplicated = false
    const query = new ExtendedQuery(text, this.#named ? name : undefined, parameters.map(encode))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(timeoutFault('waiting for its answer', true)),
        Math.max(1, deadline - performance.now()),
      )
      // Not the promise that it would give: each of those keeps the next one's rows alive until the next full
      // collection. Measured: a fifth of the time of a read.
      client.query(query, (error) => {
        clearTimeout(timer)
        if (error) reject(error)
        else if (signs.unreplicated) reject(unreplicatedFault())
        else resolve(query.rows)
      })
    })
  }
}

/** SQLSTATE too_many_connections: of the server, the database or the role. */
const NO_ROOM = '53300'

/** Milliseconds in which one of those that there are may become free. */
const NO_ROOM_DELAY = 20

interface Signs {
  unreplicated: boolean
}

const signs = new WeakMap<PoolClientLike, Signs>()

/** What a connection has said besides its answers. */
function signsOf(client: PoolClientLike): Signs {
  let known = signs.get(client)
  if (known === undefined) {
    known = { unreplicated: false }
    signs.set(client, known)
    const heard = known
    client.on('notice', (notice) => {
      // The commit stands here but has not reached the standby: that is no success. Known by the routine
      // that says so; the text is translated.
      if ((notice as { routine?: unknown }).routine === 'SyncRepWaitForLSN') heard.unreplicated = true
    })
    // A connection that breaks between two queries says so by an event, which would end the process; the
    // next query on it is told as well.
    client.on('error', () => {})
  }
  return known
}

function encode(parameter: Parameter): string | Buffer | null {
  if (parameter === null) return null
  return typeof parameter === 'object' ? encodeArray(parameter) : String(parameter)
}

function foreignFault(): SessionPgsqlError {
  return new SessionPgsqlError(
    'INVALID_OPTION',
    "db: expected a pool of node-postgres' own clients; got one of others, such as pg-native's. Give a `pg.Pool`.",
  )
}

function unreplicatedFault(): SessionPgsqlError {
  return new SessionPgsqlError(
    'SERVER_DOWN',
    'The commit was done on this server but did not reach its synchronous standby.',
    { outcomeUnknown: true },
  )
}
