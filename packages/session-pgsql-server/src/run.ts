import { createRequire } from 'node:module'
import { SessionPgsqlError } from 'session-pgsql'
import { consoleMode } from './console/mode.ts'
import { gatewayMode } from './gateway/mode.ts'
import { type Mode, type Surroundings, UsageError } from './mode.ts'

const MODES: readonly Mode[] = [gatewayMode, consoleMode]

const HELP = `usage: session-pgsql-server <mode> [flags]

${MODES.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}\n`).join('')}
session-pgsql-server <mode> --help tells the flags.
`

const FAILURE = 1
const USAGE = 2

/** Runs one command line. Never rejects. @returns the exit code: 0; 1 for what failed; 2 for a command line that cannot be served */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr } = surroundings
  const [name, ...rest] = argv
  if (name === '--version' || name === '-V') {
    stdout.write(`${createRequire(import.meta.url)('session-pgsql-server/package.json').version}\n`)
    return 0
  }
  if (name === 'help' || name === '--help' || name === '-h') {
    stdout.write(HELP)
    return 0
  }
  const mode = MODES.find((one) => one.name === name)
  if (mode === undefined) {
    stderr.write(HELP)
    return USAGE
  }
  try {
    return await mode.run(rest, surroundings)
  } catch (error) {
    stderr.write(
      `session-pgsql-server ${mode.name}: ${error instanceof Error ? error.message : String(error)}\n`,
    )
    const usage =
      error instanceof UsageError || (error instanceof SessionPgsqlError && error.code === 'INVALID_OPTION')
    return usage ? USAGE : FAILURE
  }
}
