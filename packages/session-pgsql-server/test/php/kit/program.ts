import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { isRunning } from '../../../../session-pgsql/test/support/process-tree.ts'
import { until } from '../../../../session-pgsql/test/support/wait.ts'

/** A program that serves, for as long as this process lives. */
export interface Program {
  readonly pid: number
  /** What it has written to stdout and stderr. */
  output(): string
  running(): boolean
  /** Resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/**
 * A shell between us and the program ends it when the pipe from us closes: also if this process is killed with -9.
 */
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
  const note = (chunk: Buffer): void => {
    output += chunk.toString('latin1')
  }
  child.stdout?.on('data', note)
  child.stderr?.on('data', note)
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

/** Waits until something listens at the port. */
export async function listening(port: number, program: Program): Promise<void> {
  await until(() => {
    if (!program.running()) throw new Error(`It ended:\n${program.output()}`)
    return new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' })
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
  }, `a program to listen at port ${port}`)
}

/** Why nothing can be seen by PHP here; undefined if it can. */
export function phpMissing(): string | undefined {
  const found = spawnSync('php-cgi', ['-q', '-r', ''], { stdio: 'ignore' })
  if (found.error !== undefined) return 'no php-cgi on this machine: nothing was tried with real PHP'
  const modules = spawnSync('php-cgi', ['-m'], { encoding: 'utf8' }).stdout
  for (const extension of ['session', 'redis']) {
    if (!new RegExp(`^${extension}$`, 'm').test(modules)) {
      return `php-cgi without the extension ${extension}: nothing was tried with real PHP`
    }
  }
  return undefined
}
