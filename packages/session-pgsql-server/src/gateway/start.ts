import type { PhpSessionFormat } from 'session-pgsql'
import { Gateway } from './gateway.ts'
import { type Sessions, valuesOf } from './php-side.ts'

export interface StartGatewayOptions {
  /** The sessions. Its codec is what PHP writes, its `idPattern` is 'php'. It is not closed here. */
  readonly sessions: Sessions
  /** The codec of `sessions`, PHP's `session.serialize_handler`. @default 'php' */
  readonly format?: PhpSessionFormat
  /** On this machine, 127.0.0.1. 0: any that is free. @default 6380 */
  readonly port?: number
}

/**
 * The gateway inside of a Node program, over a save handler that it has already: for sites of which Node and PHP
 * are two halves. What other machines are to reach is the command's: `session-pgsql-server gateway`.
 */
export async function startGateway(
  options: StartGatewayOptions,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const gateway = new Gateway({
    sessions: options.sessions,
    php: valuesOf(options.format),
    host: '127.0.0.1',
    port: options.port ?? 6380,
    password: undefined,
    tls: undefined,
    maxConnections: 1000,
    maxValue: 8 * 1024 * 1024,
    idleTimeout: 0,
    healthPort: undefined,
  })
  const { port } = await gateway.listen()
  return { port, close: () => gateway.close() }
}
