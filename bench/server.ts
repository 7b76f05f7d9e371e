import { fileURLToPath } from 'node:url'
import { freePort } from '../packages/session-pgsql/test/support/connect.ts'
import {
  listening,
  type Program,
  startProgram,
} from '../packages/session-pgsql-server/test/php/kit/program.ts'

const SERVER = fileURLToPath(new URL('../packages/session-pgsql-server/dist/esm/main.js', import.meta.url))
const MEMORY_SERVER = fileURLToPath(new URL('./php/memory-server.ts', import.meta.url))

interface Server extends Program {
  readonly port: number
}

/**
 * Starts the built `session-pgsql-server` in its own process on a free port. The caller stops it.
 *
 * @param argv its mode and options, without `--port`
 */
export function startServer(argv: readonly string[], env: Record<string, string> = {}): Promise<Server> {
  return startOnFreePort((port) => [SERVER, ...argv, '--port', port], env)
}

/** Starts the Node.js server that keeps PHP's sessions in memory (php/memory-server.ts). The caller stops it. */
export function startMemoryServer(): Promise<Server> {
  return startOnFreePort((port) => ['--import', 'tsx', MEMORY_SERVER, port], {})
}

async function startOnFreePort(
  argvAt: (port: string) => string[],
  env: Record<string, string>,
): Promise<Server> {
  const port = await freePort()
  const program = await startProgram(process.execPath, argvAt(String(port)), { env })
  await listening(port, program)
  return { ...program, port }
}
