import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../packages/session-pgsql/test/support/connect.ts'
import { until } from '../packages/session-pgsql/test/support/wait.ts'
import type { Where } from './contestants/contestant.ts'
import type { Racer } from './race.ts'

/** Programs that the bench does not bring along: Redis and pgbench. */

/** The path of a program, or undefined if it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const debian = '/usr/lib/postgresql'
  if (existsSync(debian)) {
    const versions = readdirSync(debian).sort((one, other) => Number(other) - Number(one))
    folders.unshift(...versions.map((version) => join(debian, version, 'bin')))
  }
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

export interface Redis {
  readonly port: number
  stop(): Promise<void>
}

/**
 * Whatever becomes of this process, Redis ends with it: the shell reads from a pipe that closes when we are
 * gone, and then ends its own child and removes its folder.
 */
const GUARDED = `folder=$1; shift
"$@" </dev/null >/dev/null 2>&1 & child=$!; read -r _; kill "$child"; wait "$child"; rm -rf "$folder"`

/** A Redis that keeps nothing on disk; undefined if there is none to start. */
export async function startRedis(): Promise<Redis | undefined> {
  const program = findProgram('redis-server')
  if (program === undefined) return undefined
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-redis-'))
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder]
  const child = spawn(
    'sh',
    ['-c', GUARDED, 'redis', folder, program, ...settings, '--save', '', '--appendonly', 'no'],
    {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    },
  )
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

/** PostgreSQL's own mark: one prepared SELECT per call, no JavaScript anywhere. Undefined if it is not installed. */
export function pgbench(where: Where, sessions: number): Racer | undefined {
  const program = findProgram('pgbench')
  if (program === undefined) return undefined
  const script = `\\set n random(0, ${sessions - 1})
SELECT sess_data FROM php_session
  WHERE sess_id = md5(:n::text) AND sess_expire >= extract(epoch FROM clock_timestamp());
`
  return {
    name: 'pgbench, 8 clients',
    async run({ milliseconds }) {
      // It knows whole seconds only.
      const seconds = Math.max(1, Math.round(milliseconds / 1000))
      const { host, port, user, database } = where
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
