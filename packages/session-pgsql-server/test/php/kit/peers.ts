import { freePort } from '../../../../session-pgsql/test/support/connect.ts'
import type { Ini } from './php.ts'
import { listening, type Program, startProgram } from './program.ts'

/** Returns the two lines of php.ini for a server with Redis' protocol on a port of this machine. */
export function twoLines(port: number, path = 'prefix=PHPSESSID:'): Ini {
  return {
    'session.save_handler': 'redis',
    'session.save_path': `tcp://127.0.0.1:${port}?${path}`,
  }
}

/** Starts a Redis that stores nothing on disk. */
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
