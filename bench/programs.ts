import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../packages/session-pgsql/test/support/connect.ts'
import { until } from '../packages/session-pgsql/test/support/wait.ts'
import type { Candidate } from './compare.ts'
import type { ConnectionConfig } from './stores/store.ts'

/** Programs that must be installed on the machine: Redis and pgbench. */

/** Returns the path of a program; undefined if it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const debian = '/usr/lib/postgresql'
  if (existsSync(debian)) {
    const versions = readdirSync(debian).sort((one, other) => Number(other) - Number(one))
    folders.unshift(...versions.map((version) => join(debian, version, 'bin')))
  }
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/** What Redis writes to disk: nothing; its log once a second; or its log before each answer, as PostgreSQL does. */
export const REDIS_PERSISTENCE = ['no', 'everysec', 'always'] as const
export type RedisPersistence = (typeof REDIS_PERSISTENCE)[number]

const REDIS_SETTINGS: Record<RedisPersistence, readonly string[]> = {
  no: ['--appendonly', 'no'],
  everysec: ['--appendonly', 'yes', '--appendfsync', 'everysec'],
  always: ['--appendonly', 'yes', '--appendfsync', 'always'],
}

export interface Redis {
  readonly port: number
  stop(): Promise<void>
}

/**
 * Ends Redis when this process ends for any reason. The shell reads from a pipe that closes with this process, and then
 * ends Redis and removes its folder.
 */
const GUARD_SCRIPT = `folder=$1; shift
"$@" </dev/null >/dev/null 2>&1 & child=$!; read -r _; kill "$child"; wait "$child"; rm -rf "$folder"`

/** Starts a Redis server. @returns undefined if redis-server is not installed */
export async function startRedis(persistence: RedisPersistence): Promise<Redis | undefined> {
  const program = findProgram('redis-server')
  if (program === undefined) return undefined
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-redis-'))
  const settings = [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''],
    ...REDIS_SETTINGS[persistence],
  ]
  const child = spawn('sh', ['-c', GUARD_SCRIPT, 'redis', folder, program, ...settings], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  await until(() => answers(port), 'Redis to start', 10_000)
  return {
    port,
    async stop() {
      child.stdin.end()
      await ended
    },
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.on('error', () => resolve(false))
    socket.on('data', (data) => {
      socket.destroy()
      resolve(data.toString().startsWith('+PONG'))
    })
  })
}

/**
 * The throughput of PostgreSQL itself: one prepared SELECT per call, without JavaScript. Undefined if pgbench is not
 * installed.
 */
export function pgbench(connection: ConnectionConfig, sessions: number): Candidate | undefined {
  const program = findProgram('pgbench')
  if (program === undefined) return undefined
  const script = `\\set n random(0, ${sessions - 1})
SELECT sess_data FROM php_session
  WHERE sess_id = md5(:n::text) AND sess_expire >= extract(epoch FROM clock_timestamp());
`
  return {
    name: 'pgbench, 8 clients',
    async run({ milliseconds }) {
      // pgbench takes whole seconds only.
      const seconds = Math.max(1, Math.round(milliseconds / 1000))
      const { host, port, user, database } = connection
      const output = await runProgram(
        program,
        [
          ...['-n', '-M', 'prepared', '-c', '8', '-j', '2', '-T', String(seconds), '-f', '-'],
          ...['-h', String(host), '-p', String(port), '-U', String(user), String(database)],
        ],
        script,
      )
      const rate = Number(/^tps = ([\d.]+)/m.exec(output)?.[1])
      const latency = Number(/^latency average = ([\d.]+) ms/m.exec(output)?.[1])
      const failures = /number of failed transactions: 0 /.test(output) && rate > 0 ? 0 : 1
      return {
        calls: rate * seconds,
        failures,
        firstFailure: failures > 0 ? output : undefined,
        milliseconds: seconds * 1000,
        p50: latency,
        p99: Number.NaN,
      }
    },
    async close() {},
  }
}

async function runProgram(program: string, args: string[], input: string): Promise<string> {
  const child: ChildProcess = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin?.end(input)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code !== 0) throw new Error(`${program} ended with ${code}:\n${output}`)
  return output
}
