import { createRequire } from 'node:module'
import { SessionPgsqlError } from 'session-pgsql'
import { auditMode } from './audit-mode.ts'
import { consoleMode } from './console/mode.ts'
import { UsageError } from './flags.ts'
import { gatewayMode } from './gateway/mode.ts'
import type { Mode, ProcessContext } from './mode.ts'

const MODES: readonly Mode[] = [gatewayMode, consoleMode, auditMode]

const HELP = `usage: session-pgsql-server <mode> [flags]

${MODES.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}\n`).join('')}
session-pgsql-server <mode> --help lists the flags of a mode.
`

const OK = 0
const FAILURE = 1
const USAGE = 2

/**
 * Runs one command line. Never rejects.
 *
 * @returns the exit code: 0, 1 for a failure, 2 for flags or settings that the server cannot run with
 */
export async function run(argv: readonly string[], context: ProcessContext): Promise<number> {
  const { stdout, stderr } = context
  const [name, ...rest] = argv
  if (name === '--version' || name === '-V') {
    stdout.write(`${createRequire(import.meta.url)('session-pgsql-server/package.json').version}\n`)
    return OK
  }
  if (name === 'help' || name === '--help' || name === '-h') {
    stdout.write(HELP)
    return OK
  }
  const mode = MODES.find((one) => one.name === name)
  if (mode === undefined) {
    stderr.write(HELP)
    return USAGE
  }
  try {
    await mode.run(rest, context)
    return OK
  } catch (error) {
    stderr.write(
      `session-pgsql-server ${mode.name}: ${error instanceof Error ? error.message : String(error)}\n`,
    )
    const isUsage =
      error instanceof UsageError || (error instanceof SessionPgsqlError && error.code === 'INVALID_OPTION')
    return isUsage ? USAGE : FAILURE
  }
}
