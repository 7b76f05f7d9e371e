import { fileURLToPath } from 'node:url'
import { freePort } from '../../../../session-pgsql/test/support/connect.ts'
import { twoLines } from './peers.ts'
import type { Ini } from './php.ts'
import { listening, type Program, startProgram } from './program.ts'

const REPOSITORY = fileURLToPath(new URL('../../../../..', import.meta.url))

export interface GatewayOptions {
  /** The database of the sessions. */
  readonly db: string
  readonly argv?: readonly string[]
  readonly env?: Record<string, string>
  /** Default: a free port. */
  readonly port?: number
  /** The path of a socket, in place of the port. */
  readonly socket?: string
}

/** The gateway in a process of its own. */
export interface Gateway extends Program {
  readonly port: number
  /** Returns the lines of php.ini that make PHP use this gateway. */
  ini(path?: string): Ini
}

export async function startGateway({
  db,
  argv = [],
  env = {},
  port,
  socket,
}: GatewayOptions): Promise<Gateway> {
  const at = port ?? (await freePort())
  // Runs the sources, as tsconfig.json maps them.
  const argvOfNode = ['--import', 'tsx', 'packages/session-pgsql-server/src/main.ts', 'gateway']
  const program = await startProgram(
    process.execPath,
    [
      ...argvOfNode,
      '--db',
      db,
      ...(socket === undefined ? ['--port', String(at)] : ['--socket', socket]),
      ...argv,
    ],
    { env, cwd: REPOSITORY },
  )
  await listening(socket ?? at, program)
  return { ...program, port: at, ini: (path) => twoLines(at, path) }
}
