import type { EventEmitter } from 'node:events'
import type { Conninfo, Host } from '../conninfo/conninfo.ts'
import { invalid } from '../conninfo/syntax.ts'
import type { ClientClass } from '../database/drivers.ts'
import type { SessionPgsqlError } from '../errors.ts'

/** SCRAM whose proof covers the server's certificate: another server that is in between cannot pass it on. */
const MECHANISM = 'SCRAM-SHA-256-PLUS'

/**
 * Returns a class of clients that connect only with channel binding, as libpq does with `channel_binding=require`.
 * node-postgres uses it if the server offers it, but accepts every other authentication as well.
 *
 * No password is sent without it: the password is asked for only after the server has named its mechanisms.
 */
export function withChannelBinding(Client: ClientClass, conninfo: Conninfo, host: Host): ClientClass {
  const refusal = (): SessionPgsqlError =>
    invalid(
      conninfo.originOf('channel_binding'),
      `channel_binding=require: the server ${host.host}:${host.port} does not authenticate by ${MECHANISM} over TLS. Another server or a pooler may be in between. Remove channel_binding if that is intended, and set sslmode=verify-full to verify the server's certificate`,
    )

  return class extends Client {
    #isBound = false

    constructor(config: { password(): Promise<string> }) {
      let isOffered = false
      super(
        // Object.create, because the pool makes the password not enumerable.
        Object.create(config, {
          enableChannelBinding: { value: true },
          password: {
            value: () => (isOffered ? config.password() : Promise.reject(refusal())),
          },
        }) as never,
      )
      const connection = this.connection as EventEmitter
      connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: readonly string[] }) => {
        isOffered = mechanisms.includes(MECHANISM)
      })
      // Before this message is verified: if that fails, node-postgres makes it an error of the connection.
      connection.on('authenticationSASLFinal', () => {
        this.#isBound = isOffered
      })
    }

    override connect(callback: (error: Error | null) => void): void {
      super.connect((error) => {
        if (error !== null || this.#isBound) return callback(error)
        // The server asked for no password, or only pretended to check it.
        this.end(() => callback(refusal()))
      })
    }
  }
}
