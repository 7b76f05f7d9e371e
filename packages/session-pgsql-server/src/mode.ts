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

/** A command line, or what it names, that cannot be served; the message says what was expected. */
export class UsageError extends Error {}
