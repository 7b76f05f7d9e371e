import { createRequire } from 'node:module'
import { setTimeout } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import type { Command } from './command.ts'
import { destroy } from './commands/destroy.ts'
import { doctor } from './commands/doctor.ts'
import { drain } from './commands/drain.ts'
import { gc } from './commands/gc.ts'
import { importCommand } from './commands/import.ts'
import { init } from './commands/init.ts'
import { list } from './commands/list.ts'
import { show } from './commands/show.ts'
import { status } from './commands/status.ts'
import { Arguments, COMMON, UsageError } from './flags.ts'
import { commandHelp, generalHelp } from './help.ts'
import { Output, type Stream, visible } from './output.ts'
import { Session } from './session.ts'

/** Where a command runs: what `process` has of it, to be put in its place in tests. */
export interface Surroundings {
  readonly environment: Record<string, string | undefined>
  readonly stdout: Stream
  readonly stderr: Stream
  /** Aborted with the signal's name as its reason. */
  readonly signal: AbortSignal
}

const OK = 0
const FAILURE = 1
const USAGE = 2

/** The exit codes that shells expect of what was ended by a signal. */
export const SIGNALS: Record<string, number> = { SIGINT: 130, SIGTERM: 143 }

/** Milliseconds for closing connections after a signal. */
const CLOSING = 1000

const COMMANDS: readonly Command[] = [init, doctor, status, list, show, destroy, gc, drain, importCommand]

/** Runs one command line. Never rejects. @returns the exit code */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { environment, stdout, stderr, signal } = surroundings
  // Before the flags are understood, their errors want to be told in the form that was asked for.
  const json = argv.includes('--json')
  const output = new Output(stdout, stderr, { json, fullIds: argv.includes('--full-ids'), environment })
  let command: Command | undefined
  try {
    const [name, ...rest] = argv
    if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
      const about = name === 'help' ? COMMANDS.find((one) => one.name === rest[0]) : undefined
      stdout.write(about ? commandHelp(about) : generalHelp(COMMANDS))
      return name === undefined ? USAGE : OK
    }
    if (name === '--version' || name === '-V') {
      stdout.write(`${version()}\n`)
      return OK
    }
    command = COMMANDS.find((one) => one.name === name)
    if (command === undefined) throw new UsageError(unknownCommand(name))
    const given = new Arguments(rest, { ...command.flags, ...COMMON })
    if (given.has('help')) {
      stdout.write(commandHelp(command))
      return OK
    }
    checkCount(command, given.positionals.length)
    return await runCommand(command, given, output, surroundings)
  } catch (error) {
    output.progress('')
    if (signal.aborted) return SIGNALS[signal.reason as string] ?? FAILURE
    return explain(error, output, command)
  }
}

async function runCommand(
  command: Command,
  given: Arguments,
  output: Output,
  { environment, signal }: Surroundings,
): Promise<number> {
  const session = new Session(given, output, signal, environment, command.createsTable ?? false)
  try {
    const code = await unlessAborted(command.run(session), signal, command.patience ?? 0)
    return signal.aborted ? (SIGNALS[signal.reason as string] ?? FAILURE) : code
  } finally {
    await unlessAborted(session.close(), signal, CLOSING).catch(() => {})
  }
}

/** Waits, but not longer than `patience` milliseconds after the signal. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, patience: number): Promise<T> {
  const done = new AbortController()
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true, signal: done.signal })
  }).then(async () => {
    await setTimeout(patience, undefined, { signal: done.signal })
    throw new Error('interrupted')
  })
  aborted.catch(() => {})
  try {
    return await Promise.race([work, aborted])
  } finally {
    done.abort()
  }
}

function checkCount({ name, usage, positionals: [least, most] }: Command, count: number): void {
  if (count >= least && count <= most) return
  throw new UsageError(
    most === 0
      ? `${name} takes flags only; write --name=VALUE for a value with a blank, in quotes`
      : `expected: ${name} ${usage}`,
  )
}

/** @returns the exit code that fits */
function explain(error: unknown, output: Output, command: Command | undefined): number {
  const help = `session-pgsql ${command === undefined ? '' : `${command.name} `}--help`
  if (error instanceof UsageError) {
    output.error(`${error.message.replace(/\w$/, '$&.')} See: ${help}`, output.isJson ? 'USAGE' : undefined)
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
  // It may be a conninfo string with a password.
  const shown = /^[a-z][a-z-]{0,20}$/.test(name) ? ` ${visible(name)}` : ''
  return `unknown command${shown}; there are ${COMMANDS.map((one) => one.name).join(', ')}`
}

function version(): string {
  return createRequire(import.meta.url)('session-pgsql/package.json').version
}
