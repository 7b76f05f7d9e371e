import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

/**
 * What runs on this machine, asked without `ps` where /proc is there: slim container images have none.
 */

interface Process {
  pid: number
  parent: number
  zombie: boolean
}

/** The direct children of a process. PostgreSQL's are leaders of their own groups, so a group is no help. */
export function childrenOf(pid: number): number[] {
  return processes()
    .filter((process) => process.parent === pid && !process.zombie)
    .map((process) => process.pid)
}

/** Whether a process still runs; one that has ended and waits to be collected does not. */
export function isRunning(pid: number): boolean {
  if (existsSync('/proc/self/stat')) {
    const process = readStat(pid)
    return process !== undefined && (!process.zombie || hasThreads(pid))
  }
  return processes().some((process) => process.pid === pid && !process.zombie)
}

/** A process that was killed may be a zombie while its other threads still hold its sockets. */
function hasThreads(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false
  }
}

/** Sends a signal; false if there was nobody to receive it. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

function processes(): Process[] {
  if (existsSync('/proc/self/stat')) {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => readStat(Number(name)))
      .filter((process) => process !== undefined)
  }
  const output = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state='], { encoding: 'utf8' })
  return output
    .trim()
    .split('\n')
    .map((line) => {
      const [pid, parent, state] = line.trim().split(/\s+/)
      return { pid: Number(pid), parent: Number(parent), zombie: state?.startsWith('Z') ?? false }
    })
}

function readStat(pid: number): Process | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The name stands in parentheses and may hold blanks and parentheses of its own.
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { pid, parent: Number(parent), zombie: state === 'Z' }
}
