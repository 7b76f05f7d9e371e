import { readable } from './definition.ts'

/** `ok`: nothing to do; `warning`: it works, but not as well as it could; `problem`: something does not work. */
export type Level = 'ok' | 'warning' | 'problem'

/** The result of one check. */
export interface Finding {
  /** The check's name. Stable, for programs. */
  readonly check: string
  readonly level: Level
  /** For operators. */
  readonly message: string
  /** SQL or commands that fix it, one on each line; empty for `ok`. */
  readonly remedy: readonly string[]
}

export function ok(check: string, message: string): Finding {
  return { check, level: 'ok', message, remedy: [] }
}

export function warning(check: string, message: string, remedy: readonly string[] = []): Finding {
  return { check, level: 'warning', message, remedy }
}

export function problem(check: string, message: string, remedy: readonly string[] = []): Finding {
  return { check, level: 'problem', message, remedy }
}

/** Returns a statement as a remedy. */
export function statement(sql: string): string {
  return `${readable(sql)};`
}
