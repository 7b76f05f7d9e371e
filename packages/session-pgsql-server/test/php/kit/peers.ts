import { freePort } from '../../../../session-pgsql/test/support/connect.ts'
import type { Ini } from './php.ts'
import { listening, type Program, startProgram } from './program.ts'

/** The two lines of php.ini, for a server that speaks Redis' protocol at a port of this machine. */
export function twoLines(port: number, path = 'prefix=PHPSESSID:'): Ini {
  return {
    'session.save_handler': 'redis',
    'session.save_path': `tcp://127.0.0.1:${port}?${path}`,
  }
}

/** A Redis of its own that stores nothing on disk, to compare with. */
export async function startRedis(): Promise<{ port: number; program: Program }> {
  const port = await freePort()
  const program = await startProgram('redis-server', [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ])
  await listening(port, program)
  return { port, program }
}
