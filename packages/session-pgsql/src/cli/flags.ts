import { parseArgs } from 'node:util'
import { nearest } from '../nearest.ts'

/** What a command takes on its command line, how it is read, and how it is shown by `--help`. */

interface Flag {
  readonly type: 'string' | 'boolean'
  /** What stands for the value in the help: `SECONDS`. */
  readonly value?: string
  readonly about: string
}

export type Flags = Readonly<Record<string, Flag>>

/** The command line is wrong: exit code 2. Its message never holds what was typed, unless that is harmless. */
export class UsageError extends Error {}

/** Those of every command. */
export const COMMON: Flags = {
  db: {
    type: 'string',
    value: 'DATABASE',
    about: 'conninfo string, URL, or pglite:./folder; several: separated by ";", or the flag again',
  },
  table: { type: 'string', value: 'NAME', about: 'session table: table or schema.table (php_session)' },
  ini: { type: 'string', value: 'FILE', about: 'php.ini with session_pgsql.* directives' },
  timeout: { type: 'string', value: 'SECONDS', about: 'longest wait for one statement (30)' },
  json: { type: 'boolean', about: 'for programs: JSON on stdout, errors as JSON on stderr' },
  'full-ids': { type: 'boolean', about: 'whole ids; an id is the key to its session, so they are shortened' },
  help: { type: 'boolean', about: 'this text' },
}

export class Arguments {
  readonly positionals: readonly string[]
  readonly #values: Record<string, unknown>

  /** @throws UsageError */
  constructor(argv: readonly string[], flags: Flags) {
    const { options, positionals } = sort(argv, flags)
    const { values } = parseArgs({
      args: options,
      options: Object.fromEntries(
        Object.entries(flags).map(([name, { type }]) => [name, { type, multiple: true }]),
      ),
    })
    this.#values = values
    this.positionals = positionals
  }

  has(flag: string): boolean {
    return this.#values[flag] !== undefined
  }

  /** Given more than once, the last counts. */
  text(flag: string): string | undefined {
    return this.all(flag).at(-1)
  }

  all(flag: string): readonly string[] {
    return (this.#values[flag] ?? []) as string[]
  }

  /** @throws UsageError */
  number(flag: string): number | undefined {
    const text = this.text(flag)
    if (text === undefined) return undefined
    if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text)
    if (/^inf(?:inity)?$/i.test(text)) return Number.POSITIVE_INFINITY
    throw new UsageError(`--${flag}: expected a number`)
  }

  /** @throws UsageError if more than one is given */
  oneOf(...flags: readonly string[]): string | undefined {
    const given = flags.filter((flag) => this.has(flag))
    if (given.length <= 1) return given[0]
    throw new UsageError(`${given.map((flag) => `--${flag}`).join(' and ')} exclude each other`)
  }
}

/**
 * Tells flags from the rest, as getopt does: what follows a flag that takes a value is its value, also with a
 * dash before it (`--sort -modified`); and what only begins with a dash is an id, for every 64th id does.
 */
function sort(argv: readonly string[], flags: Flags): { options: string[]; positionals: string[] } {
  const options: string[] = []
  const positionals: string[] = []
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] as string
    if (argument === '--') {
      positionals.push(...argv.slice(at + 1))
      break
    }
    const [, name, equals] = /^--([^=]+)(=?)/s.exec(argument) ?? []
    if (argument === '-h') {
      options.push('--help')
    } else if (name === undefined) {
      positionals.push(argument)
    } else if (!Object.hasOwn(flags, name)) {
      throw new UsageError(unknown(name, flags))
    } else if (flags[name]?.type === 'boolean') {
      if (equals) throw new UsageError(`--${name} takes no value`)
      options.push(argument)
    } else if (equals) {
      options.push(argument)
    } else {
      const value = argv[++at]
      if (value === undefined) throw new UsageError(`--${name}: expected ${flags[name]?.value} after it`)
      options.push(`${argument}=${value}`)
    }
  }
  return { options, positionals }
}

function unknown(name: string, flags: Flags): string {
  const meant = nearest(name, Object.keys(flags))
  if (meant !== undefined) return `unknown flag; did you mean --${meant}?`
  const shown = /^[a-z][a-z-]{0,20}$/.test(name) ? ` --${name}` : ''
  return `unknown flag${shown}. If it is an id that begins with two dashes, put -- before it`
}
