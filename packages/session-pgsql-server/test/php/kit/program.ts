import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { isRunning } from '../../../../session-pgsql/test/support/process-tree.ts'
import { until } from '../../../../session-pgsql/test/support/wait.ts'

/** A server program that runs as long as this process at most. */
export interface Program {
  readonly pid: number
  /** Returns its output on stdout and stderr. */
  output(): string
  running(): boolean
  /** Resolves when it has ended. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/** A shell that runs the program, and ends it when the pipe from this process closes: also if this process is killed. */
const TIED = '"$@" <&- & pid=$!; echo "$pid" >&3; exec 3>&-; read -r _; kill -TERM "$pid" 2>/dev/null'

export async function startProgram(
  command: string,
  argv: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Program> {
  const env = { ...process.env, ...options.env }
  const child = spawn('sh', ['-c', TIED, 'sh', command, ...argv], {
    cwd: options.cwd,
    env,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  let output = ''
  let line = ''
  const collect = (chunk: Buffer): void => {
    output += chunk.toString('latin1')
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  child.stdio[3]?.on('data', (chunk: Buffer) => {
    line += chunk.toString()
  })
  child.stdin?.on('error', () => {})
  await until(() => line.endsWith('\n') || child.exitCode !== null, `${command} to start`)
  const pid = Number(line)
  return {
    pid,
    output: () => output,
    running: () => isRunning(pid),
    async stop(signal = 'SIGTERM') {
      if (isRunning(pid)) process.kill(pid, signal)
      try {
        await until(() => !isRunning(pid), `${command} to end`, 10_000)
      } catch {
        process.kill(pid, 'SIGKILL')
      }
      child.stdin?.end()
      await ended(child)
    },
  }
}

function ended(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return until(() => child.exitCode !== null || child.signalCode !== null, 'the shell to end')
}

/** Waits until the program listens on the port, or on the socket with this path. */
export async function listening(place: number | string, program: Program): Promise<void> {
  await until(() => {
    if (!program.running()) throw new Error(`the program ended:\n${program.output()}`)
    return new Promise<boolean>((resolve) => {
      const socket = typeof place === 'string' ? connect(place) : connect({ port: place, host: '127.0.0.1' })
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
  }, `a program to listen on ${place}`)
}

/** Returns why the tests cannot run PHP on this machine; undefined if they can. */
export function phpMissing(): string | undefined {
  const found = spawnSync('php-cgi', ['-q', '-r', ''], { stdio: 'ignore' })
  if (found.error !== undefined) return 'no php-cgi on this machine: nothing was tested with real PHP'
  const modules = spawnSync('php-cgi', ['-m'], { encoding: 'utf8' }).stdout
  for (const extension of ['session', 'redis']) {
    if (!new RegExp(`^${extension}$`, 'm').test(modules)) {
      return `php-cgi lacks the extension ${extension}: nothing was tested with real PHP`
    }
  }
  return undefined
}

/** Returns the version of phpredis; empty without it. */
export function phpredisVersion(): string {
  const { stdout } = spawnSync('php-cgi', ['-q', '-i'], { encoding: 'utf8' })
  return /Redis Version[^0-9]*([0-9.]+)/.exec(stdout ?? '')?.[1] ?? ''
}
