import type { SaveHandler } from 'session-pgsql'
import { Console } from './console.ts'

export interface StartConsoleOptions {
  /** The sessions that are shown. It is not closed here. */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  readonly sessions: SaveHandler<any>
  /** On this machine, 127.0.0.1. 0: any that is free. @default 8095 */
  readonly port?: number
  /** Whether it answers `GET /metrics`, for Prometheus. @default false */
  readonly metrics?: boolean
  /** Where acts and looks at data are noted, a line of JSON for each. @default in memory, until it is closed */
  readonly auditFile?: string
}

/**
 * The console inside of a Node program, over a save handler that it has already: for the embedded database, which
 * is for one process, and for development. It is for this machine alone, and whoever reaches it there is an
 * operator. What other machines are to reach is the command's: `session-pgsql-server console`.
 */
export async function startConsole(
  options: StartConsoleOptions,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const console = new Console({
    sessions: options.sessions,
    host: '127.0.0.1',
    port: options.port ?? 8095,
    passwords: undefined,
    names: [],
    trustProxy: false,
    tls: undefined,
    metrics: options.metrics ?? false,
    auditFile: options.auditFile,
    log: (message) => process.stderr.write(`session-pgsql console: ${message}\n`),
  })
  const port = await console.listen()
  return { port, close: () => console.close() }
}
