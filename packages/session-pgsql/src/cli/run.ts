import { createRequire } from 'node:module'
import { setTimeout } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { Arguments, GENERAL_OPTIONS, UsageError } from './arguments.ts'
import type { Command } from './command.ts'
import { destroy } from './commands/destroy.ts'
import { doctor } from './commands/doctor.ts'
import { drain } from './commands/drain.ts'
import { encrypt } from './commands/encrypt.ts'
import { gc } from './commands/gc.ts'
import { hashIdsCommand } from './commands/hash-ids.ts'
import { importCommand } from './commands/import.ts'
import { init } from './commands/init.ts'
import { list } from './commands/list.ts'
import { show } from './commands/show.ts'
import { status } from './commands/status.ts'
import { CommandContext } from './context.ts'
import { commandHelp, generalHelp } from './help.ts'
import { Output, type Stream, visible } from './output.ts'

/** The parts of `process` that a command uses. Tests pass their own. */
export interface ProcessContext {
  readonly environment: Record<string, string | undefined>
  readonly stdout: Stream
  readonly stderr: Stream
  /** Aborted with the signal's name as its reason. */
  readonly signal: AbortSignal
  /** Asks the user at the terminal, and returns true if the user confirms. undefined: there is no terminal. */
  readonly confirm?: ((question: string) => Promise<boolean>) | undefined
}

const OK = 0
const FAILURE = 1
const USAGE = 2

/** Exit codes after a signal: 128 and the signal's number, as shells report it. */
export const SIGNAL_EXIT_CODES: Record<string, number> = { SIGINT: 130, SIGTERM: 143 }

/** Milliseconds for closing connections after a signal. */
const CLOSE_TIMEOUT = 1000

const COMMANDS: readonly Command[] = [
  init,
  doctor,
  status,
  list,
  show,
  destroy,
  gc,
  encrypt,
  drain,
  importCommand,
  hashIdsCommand,
]

/** Runs one command line. Never rejects. @returns the exit code */
export async function run(argv: readonly string[], processContext: ProcessContext): Promise<number> {
  const { environment, stdout, stderr, signal } = processContext
  // Read before the arguments are parsed, so that a parse error is printed in the requested form.
  const json = argv.includes('--json')
  const output = new Output(stdout, stderr, { json, fullIds: argv.includes('--full-ids'), environment })
  let command: Command | undefined
  try {
    const [name, ...rest] = argv
    if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
      const topic = name === 'help' ? COMMANDS.find((one) => one.name === rest[0]) : undefined
      stdout.write(topic ? commandHelp(topic) : generalHelp(COMMANDS))
      return name === undefined ? USAGE : OK
    }
    if (name === '--version' || name === '-V') {
      stdout.write(`${version()}\n`)
      return OK
    }
    command = COMMANDS.find((one) => one.name === name)
    if (command === undefined) throw new UsageError(unknownCommand(name))
    const args = new Arguments(rest, { ...command.options, ...GENERAL_OPTIONS })
    if (args.has('help')) {
      stdout.write(commandHelp(command))
      return OK
    }
    checkCount(command, args.positionals.length)
    return await runCommand(command, args, output, processContext)
  } catch (error) {
    output.progress('')
    if (signal.aborted) return SIGNAL_EXIT_CODES[signal.reason as string] ?? FAILURE
    return reportError(error, output, command)
  }
}

async function runCommand(
  command: Command,
  args: Arguments,
  output: Output,
  { environment, signal, confirm }: ProcessContext,
): Promise<number> {
  const createTable = command.createsTable ?? false
  const context = new CommandContext(args, output, signal, environment, createTable, confirm)
  try {
    const code = await unlessAborted(command.run(context), signal, command.gracePeriod ?? 0)
    return signal.aborted ? (SIGNAL_EXIT_CODES[signal.reason as string] ?? FAILURE) : code
  } finally {
    await unlessAborted(context.close(), signal, CLOSE_TIMEOUT).catch(() => {})
  }
}

/** Waits for the work, but at most `gracePeriod` milliseconds after the signal. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, gracePeriod: number): Promise<T> {
  const done = new AbortController()
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true, signal: done.signal })
  }).then(async () => {
    await setTimeout(gracePeriod, undefined, { signal: done.signal })
    throw new Error('interrupted')
  })
  aborted.catch(() => {})
  try {
    return await Promise.race([work, aborted])
  } finally {
    done.abort()
  }
}

function checkCount({ name, usage, positionals: [minimum, maximum] }: Command, count: number): void {
  if (count >= minimum && count <= maximum) return
  throw new UsageError(
    maximum === 0
      ? `${name} takes options only; put quotes around a value with spaces`
      : `expected ${name} ${usage}`,
  )
}

/** Prints the error. @returns the exit code for it */
function reportError(error: unknown, output: Output, command: Command | undefined): number {
  const help = `session-pgsql ${command === undefined ? '' : `${command.name} `}--help`
  if (error instanceof UsageError) {
    output.error(
      `${error.message.replace(/[^.?]$/, '$&.')} Try "${help}" for more information.`,
      output.isJson ? 'USAGE' : undefined,
    )
    return USAGE
  }
  if (error instanceof SessionPgsqlError) {
    output.error(error.message, error.code)
    return error.code === 'INVALID_OPTION' || error.code === 'INVALID_ARGUMENT' ? USAGE : FAILURE
  }
  output.error(error instanceof Error ? error.message : String(error))
  return FAILURE
}

function unknownCommand(name: string): string {
  // The argument may be a conninfo string with a password: show it only if it looks like a command.
  const shown = /^[a-z][a-z-]{0,20}$/.test(name) ? ` ${visible(name)}` : ''
  return `unknown command${shown}; the commands are ${COMMANDS.map((one) => one.name).join(', ')}`
}

function version(): string {
  return createRequire(import.meta.url)('session-pgsql/package.json').version
}
