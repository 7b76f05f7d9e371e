import type { PhpSessionFormat } from 'session-pgsql'
import { registeredMeter } from '../metrics/load.ts'
import { Gateway } from './gateway.ts'
import { phpValues, type Sessions } from './wire-format.ts'

export interface StartGatewayOptions {
  /**
   * The sessions to serve. Its `codec` must be the one of PHP's `session.serialize_handler`, its `idPattern` 'php'.
   * The gateway does not close it.
   */
  readonly sessions: Sessions
  /** The codec of `sessions`: PHP's `session.serialize_handler`. @default 'php' */
  readonly format?: PhpSessionFormat
  /**
   * True if a client may create a session that it has not read, for clients that only write. A request whose read the
   * gateway has forgotten may then restore a logged-out session. @default false
   */
  readonly createUnread?: boolean
  /** What the keys of sessions begin with. @default any name and a colon, such as `PHPSESSID:` */
  readonly prefixes?: readonly string[]
  /** Port on 127.0.0.1; 0: any free port. @default 6380 */
  readonly port?: number
}

/**
 * Starts the gateway inside a Node program, on a save handler that the program uses too: for sites that run PHP and
 * Node. It listens on 127.0.0.1 without a password; to serve other machines, run `session-pgsql-server gateway`.
 *
 * @returns the port, and a function that closes the gateway
 * @throws if the port is not available
 */
export async function startGateway(
  options: StartGatewayOptions,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const gateway = new Gateway({
    sessions: options.sessions,
    wireFormat: phpValues(options.format),
    prefixes: options.prefixes,
    createUnread: options.createUnread,
    host: '127.0.0.1',
    port: options.port ?? 6380,
    password: undefined,
    tls: undefined,
    maxConnections: 1000,
    maxValue: 8 * 1024 * 1024,
    idleTimeout: 0,
    healthPort: undefined,
    meter: await registeredMeter(),
    log: (line) => console.warn(line),
  })
  const { port } = await gateway.listen()
  return { port, close: () => gateway.close() }
}
