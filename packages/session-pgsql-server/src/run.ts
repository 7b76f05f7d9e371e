import { createRequire } from 'node:module'

/** Where a command runs: what `process` has of it, to be put in its place in tests. */
export interface Surroundings {
  readonly environment: Record<string, string | undefined>
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  /** Aborted when the process is asked to end; a service then finishes what is under way. */
  readonly signal: AbortSignal
}

/** One thing that the server can be, such as the gateway. */
export interface Mode {
  readonly name: string
  readonly summary: string
  /** Serves until `signal` is aborted. @returns the exit code */
  run(argv: readonly string[], surroundings: Surroundings): Promise<number>
}

const MODES: readonly Mode[] = []

/** Runs one command line. @returns the exit code: 0, or 2 for a command line that says nothing of use */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr } = surroundings
  const [name, ...rest] = argv
  if (name === '--version' || name === '-V') {
    stdout.write(`${createRequire(import.meta.url)('session-pgsql-server/package.json').version}\n`)
    return 0
  }
  const mode = MODES.find((one) => one.name === name)
  if (mode !== undefined) return await mode.run(rest, surroundings)
  const help = `usage: session-pgsql-server <mode> [flags]\n\n${MODES.map((one) => `  ${one.name.padEnd(10)}${one.summary}\n`).join('')}`
  if (name === 'help' || name === '--help' || name === '-h') {
    stdout.write(help)
    return 0
  }
  stderr.write(help)
  return 2
}
