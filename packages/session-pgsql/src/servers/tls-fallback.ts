import type { ClientClass, NodePostgresConfig, PoolClientLike, PoolLike } from '../database/drivers.ts'

/** SQLSTATE invalid_authorization_specification: pg_hba.conf has no entry for connections of this kind. */
const NO_ENTRY = '28000'

function isRefusal(error: Error & { code?: unknown }): boolean {
  return error.code === NO_ENTRY || isTlsRefused(error)
}

/** Returns true if the server does not support TLS. */
function isTlsRefused(error: unknown): boolean {
  // node-postgres sets no error code.
  return error instanceof Error && error.message === 'The server does not support SSL connections'
}

/**
 * Returns a pool whose connections are attempted twice, as libpq does with `sslmode` `prefer` and `allow`: with TLS
 * first and then without it, or the other way round. Each connection begins with the first attempt, so one refusal,
 * which may be an attacker's, says nothing of the next connection.
 *
 * Unlike libpq, a failed handshake is an error also with `prefer`: the server supports TLS, but something is wrong.
 *
 * @param pg node-postgres
 * @param first the configuration of the first attempt
 * @param ssl the option `ssl` of the second attempt
 */
export function poolWithTwoAttempts(
  pg: Pick<typeof import('pg'), 'Pool'>,
  first: NodePostgresConfig & { Client: ClientClass },
  ssl: NodePostgresConfig['ssl'],
): PoolLike {
  /** The errors of first attempts after which a second one may succeed. */
  const refusals = new WeakSet<Error>()
  /** How many connections to come are second attempts. */
  let owed = 0
  /** How many callers wait for a second attempt. */
  let waiting = 0

  class Client extends first.Client {
    readonly #isSecond: boolean

    constructor(config: object) {
      const isSecond = owed > 0
      if (isSecond) owed--
      // Object.create, because the pool makes the password not enumerable.
      super((isSecond ? Object.create(config, { ssl: { value: ssl } }) : config) as never)
      this.#isSecond = isSecond
    }

    override connect(callback: (error: Error | null) => void): void {
      super.connect((error) => {
        if (error && !this.#isSecond && isRefusal(error)) refusals.add(error)
        callback(error)
      })
    }
  }

  class Pool extends (pg.Pool as unknown as PoolClass) {
    /**
     * Which caller gets which connection is up to the pool. So a refused caller adds one second attempt, and asks the
     * pool again. If another caller gets that connection, this one may be refused again; but every refusal lets one
     * caller in, so all of them get in.
     */
    override async connect(): Promise<PoolClientLike> {
      let refusal: Error | undefined
      try {
        for (;;) {
          try {
            return await super.connect()
          } catch (error) {
            if (!(error instanceof Error)) throw error
            if (!refusals.has(error)) throw refusal === undefined ? error : withBothReasons(refusal, error)
            if (refusal === undefined) waiting++
            refusal = error
            owed++
          }
        }
      } finally {
        if (refusal !== undefined) waiting--
        // This caller may have been given an idle connection.
        owed = Math.min(owed, waiting)
      }
    }
  }

  function withBothReasons(refusal: Error, error: Error): Error {
    if (!isTlsRefused(refusal) && refusal.message !== error.message) {
      error.message = `${refusal.message}; ${ssl === false ? 'without' : 'with'} TLS: ${error.message}`
    }
    return error
  }

  return new Pool({ ...first, Client })
}

type PoolClass = new (config: object) => PoolLike
