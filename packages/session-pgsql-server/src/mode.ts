import { type FlagOptions, type FlagValues, parseFlags } from './flags.ts'

/** The process that a command runs in; tests substitute it. */
export interface ProcessContext {
  readonly environment: Record<string, string | undefined>
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  /** Aborted when the process is asked to stop; a server then finishes what is in progress. */
  readonly signal: AbortSignal
}

/** The first word of a command line: usually a server that the command starts, such as the gateway. */
export interface Mode {
  readonly name: string
  readonly summary: string
  /** Runs to its end; a server until `signal` is aborted. With `--help` it prints the help instead. */
  run(argv: readonly string[], context: ProcessContext): Promise<void>
}

export interface ModeOptions<Own extends FlagOptions> {
  readonly name: string
  /** One line for the help of the command. */
  readonly summary: string
  /** The text of `--help`. */
  readonly help: string
  /** The mode's own flags; those in flags.ts are common to all. */
  readonly flags: Own
  /** Serves until `signal` is aborted. */
  serve(flags: FlagValues<Own>, context: ProcessContext): Promise<void>
}

export function defineMode<const Own extends FlagOptions>({
  name,
  summary,
  help,
  flags,
  serve,
}: ModeOptions<Own>): Mode {
  return {
    name,
    summary,
    async run(argv, context) {
      const values = parseFlags(argv, flags)
      if ((values as { readonly help?: boolean }).help) context.stdout.write(help)
      else await serve(values, context)
    },
  }
}

/** Resolves when the process is asked to stop. */
export function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
