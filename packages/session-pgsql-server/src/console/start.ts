import type { SaveHandler } from 'session-pgsql'
import { Console } from './console.ts'

export interface StartConsoleOptions {
  /** The save handler whose sessions the console shows. Closing the console does not close it. */
  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  readonly sessions: SaveHandler<any>
  /** The port on 127.0.0.1; 0 selects a free one. @default 8095 */
  readonly port?: number
  /** Whether to serve `GET /metrics` for Prometheus. Needs the packages that docs/metrics.md names. @default false */
  readonly metrics?: boolean
  /** The path of the audit log, which records actions and views of session data. @default in memory only */
  readonly auditFile?: string
}

export interface StartedConsole {
  readonly port: number
  /** The URL to open in a browser. It holds a token: a client that has it is an operator until the console stops. */
  readonly url: string
  /** Stops the console. */
  close(): Promise<void>
}

/**
 * Starts the console inside a Node program that already has a save handler: for the embedded database, which only one
 * process can use, and for development. It listens on 127.0.0.1. Print the returned `url` in the terminal: it holds a
 * random token, with which an operator signs in. To serve other machines, run the command `session-pgsql-server console`.
 *
 * @throws if the port is in use, or if the packages for `metrics` are not installed
 */
export async function startConsole(options: StartConsoleOptions): Promise<StartedConsole> {
  const console = new Console({
    sessions: options.sessions,
    host: '127.0.0.1',
    port: options.port ?? 8095,
    passwordAccess: undefined,
    names: [],
    trustProxy: false,
    tls: undefined,
    metrics: options.metrics ?? false,
    auditFile: options.auditFile,
    log: (message) => process.stderr.write(`session-pgsql console: ${message}\n`),
  })
  return { ...(await console.listen()), close: () => console.close() }
}
