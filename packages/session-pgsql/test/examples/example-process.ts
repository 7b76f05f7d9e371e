import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { until, within } from '../support/wait.ts'

export const EXAMPLES = join(import.meta.dirname, '../../../../examples')

export interface ExampleProcess {
  readonly url: string
  /** Sends a signal to all processes of the example. @returns what they have written to stdout and stderr */
  end(signal: NodeJS.Signals): Promise<string>
}

/** A program and its arguments, run in the example's folder. */
export type ExampleCommand = readonly [string, ...string[]]

interface ExampleOptions {
  /** @default npm start */
  readonly command?: ExampleCommand | undefined
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Starts an example on the built package and a free port.
 *
 * @param folder the example's home folder, with its database
 */
export async function startExample(
  name: string,
  folder: string,
  { command = ['npm', 'start', '--silent'], env = {} }: ExampleOptions = {},
): Promise<ExampleProcess> {
  const database = join(folder, 'database')
  const [program, ...args] = command
  const child = spawn(program, args, {
    cwd: join(EXAMPLES, name),
    env: {
      PATH: process.env.PATH ?? '',
      HOME: folder,
      FOLDER: database,
      DEMO_FOLDER: database,
      PORT: '0',
      NEXT_TELEMETRY_DISABLED: '1',
      ...env,
    },
    // A process group, as a shell creates it: Ctrl+C reaches all its processes.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const end = async (signal: NodeJS.Signals): Promise<string> => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), signal)
    await within(closed, 30_000, `${name} to end: ${output}`)
    return output
  }
  const url = await until(
    () => {
      if (child.exitCode !== null) throw new Error(`The example ended: ${output}`)
      return /http:\/\/[^\s;/]+:\d+/.exec(output)?.[0]
    },
    `${name} to listen`,
    90_000,
  )
  return { url, end }
}
