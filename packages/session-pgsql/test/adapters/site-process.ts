import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { SaveHandler } from '../../src/index.ts'
import { until, within } from '../support/wait.ts'
import type { Pause, Site, SiteOptions } from './guarantees.ts'

export interface SiteProgram {
  /** The example's name. */
  readonly name: string
  /** The program and its arguments, run in the example's folder. It logs the URL when it listens on PORT. */
  readonly command: readonly [string, ...string[]]
}

const EXAMPLES = join(import.meta.dirname, '../../../../examples')

/** The folder of an example. */
export function exampleFolder(name: string): string {
  return join(EXAMPLES, name)
}

/** Runs a command in the folder of an example until it ends. @throws with its output, if it fails */
export async function runInExample(
  name: string,
  ...[program, ...args]: [string, ...string[]]
): Promise<void> {
  const child = start(program, args, name, {})
  await new Promise((resolve) => child.process.once('close', resolve))
  if (child.process.exitCode !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${child.output()}`)
}

/**
 * Starts an example as a process, for frameworks whose sites are built or started by a program of their own. Its requests
 * with the parameter `wait` ask this process when to continue.
 */
export async function startSiteProcess(
  { name, command: [program, ...args] }: SiteProgram,
  options: SiteOptions,
  pause: Pause,
): Promise<Site> {
  const gate = createServer(async ({ url = '' }, response) => {
    await pause(decodeURIComponent(url.slice(1)))
    response.end()
  })
  await new Promise<void>((listening) => gate.listen(0, '127.0.0.1', listening))
  const { port } = gate.address() as AddressInfo
  const child = start(program, args, name, {
    PORT: '0',
    HOST: '127.0.0.1',
    SESSION_OPTIONS: JSON.stringify(options),
    PAUSE_URL: `http://127.0.0.1:${port}/`,
  })
  const closed = new Promise<void>((resolve) => child.process.once('close', () => resolve()))
  let handler: SaveHandler<unknown> | undefined

  async function stop(): Promise<void> {
    if (child.process.exitCode === null) child.process.kill('SIGTERM')
    await within(closed, 30_000, `${name} to end: ${child.output()}`)
    gate.closeAllConnections()
    await new Promise((resolve) => gate.close(resolve))
    await handler?.close()
  }

  try {
    const listening = until(
      () => /http:\/\/127\.0\.0\.1:[1-9]\d*/.exec(child.output())?.[0],
      `${name} to listen`,
    )
    // Nothing waits for it if the process ends first.
    listening.catch(() => {})
    const ended = closed.then(() => {
      throw new Error(`${name} has ended: ${child.output()}`)
    })
    ended.catch(() => {})
    const url = await Promise.race([listening, ended])
    return {
      url,
      stop,
      get handler() {
        handler ??= new SaveHandler({ ...options, gcInterval: 0 })
        return handler
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function start(
  program: string,
  args: readonly string[],
  example: string,
  env: Record<string, string>,
): { process: ChildProcess; output: () => string } {
  const child = spawn(program, args, {
    cwd: exampleFolder(example),
    env: { ...process.env, NODE_ENV: 'production', NODE_OPTIONS: '', ASTRO_TELEMETRY_DISABLED: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  return { process: child, output: () => output }
}
