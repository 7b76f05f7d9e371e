import { parseArgs } from 'node:util'
import { nearest } from '../nearest.ts'

/** One command-line option: how it is parsed and how `--help` describes it. */
interface OptionSpec {
  readonly type: 'string' | 'boolean'
  /** Placeholder of the value in the help: `SECONDS`. */
  readonly placeholder?: string
  readonly description: string
}

/** Options by name, without the leading dashes. */
export type OptionSpecs = Readonly<Record<string, OptionSpec>>

/** The command line is invalid: exit code 2. The message never quotes a value, which may be a password. */
export class UsageError extends Error {}

/** The options of every command. */
export const GENERAL_OPTIONS: OptionSpecs = {
  db: {
    type: 'string',
    placeholder: 'DATABASE',
    description:
      'conninfo string, URL, or pglite:./folder; for several servers separate them with ";" or repeat the option',
  },
  table: {
    type: 'string',
    placeholder: 'NAME',
    description: 'session table, as table or schema.table (default: php_session)',
  },
  ids: {
    type: 'string',
    placeholder: 'MODE',
    description: 'form of stored ids: plain, migrate or hashed, as in the application (default: plain)',
  },
  columns: {
    type: 'string',
    placeholder: 'LIST',
    description: 'own columns of the session table, as user_id:bigint:index,tenant:text',
  },
  ini: {
    type: 'string',
    placeholder: 'FILE',
    description: 'read the session_pgsql.* settings of this php.ini',
  },
  'encryption-keys': {
    type: 'string',
    placeholder: 'FILE',
    description:
      'file with the keys of encrypted sessions, as "id:key" on a line each; or SESSION_PGSQL_ENCRYPTION_KEYS in the environment',
  },
  timeout: {
    type: 'string',
    placeholder: 'SECONDS',
    description: 'time limit for each statement (default: 30)',
  },
  json: { type: 'boolean', description: 'print JSON to stdout, and errors as JSON to stderr' },
  'full-ids': {
    type: 'boolean',
    description:
      'print full session ids; by default they are shortened, because an id gives access to its session',
  },
  help: { type: 'boolean', description: 'show this help, then exit' },
}

/** The parsed arguments of one command. */
export class Arguments {
  readonly positionals: readonly string[]
  readonly #values: Record<string, unknown>

  /** @throws UsageError if an option is unknown or lacks its value */
  constructor(argv: readonly string[], specs: OptionSpecs) {
    const { options, positionals } = separate(argv, specs)
    const { values } = parseArgs({
      args: options,
      options: Object.fromEntries(
        Object.entries(specs).map(([name, { type }]) => [name, { type, multiple: true }]),
      ),
    })
    this.#values = values
    this.positionals = positionals
  }

  has(option: string): boolean {
    return this.#values[option] !== undefined
  }

  /** Returns the option's value; the last one if the option is repeated. */
  text(option: string): string | undefined {
    return this.all(option).at(-1)
  }

  /** Returns every value of a repeatable option. */
  all(option: string): readonly string[] {
    return (this.#values[option] ?? []) as string[]
  }

  /** Returns the option's value as a number; `inf` and `infinity` are Infinity. @throws UsageError */
  number(option: string): number | undefined {
    const text = this.text(option)
    if (text === undefined) return undefined
    if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text)
    if (/^inf(?:inity)?$/i.test(text)) return Number.POSITIVE_INFINITY
    throw new UsageError(`--${option}: expected a number`)
  }

  /** Returns the columns and values of a repeatable option `NAME=VALUE`. @throws UsageError */
  pairs(option: string): Record<string, string> | undefined {
    const pairs = this.all(option).map((text) => text.split(/=(.*)/s, 2) as [string, string | undefined])
    if (pairs.some(([, value]) => value === undefined)) {
      throw new UsageError(`--${option}: expected COLUMN=VALUE`)
    }
    return pairs.length === 0 ? undefined : (Object.fromEntries(pairs) as Record<string, string>)
  }

  /** Returns the one of these options that is set. @throws UsageError if several are set */
  oneOf(...options: readonly string[]): string | undefined {
    const present = options.filter((option) => this.has(option))
    if (present.length <= 1) return present[0]
    throw new UsageError(`${present.map((option) => `--${option}`).join(' and ')} cannot be used together`)
  }
}

/**
 * Separates options from positional arguments, as getopt does. The argument after an option that takes a value is
 * its value even if it starts with a dash (`--sort -modified`). Other arguments that start with one dash are
 * positional, because one session id in 64 starts with a dash.
 */
function separate(argv: readonly string[], specs: OptionSpecs): { options: string[]; positionals: string[] } {
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
    } else if (!Object.hasOwn(specs, name)) {
      throw new UsageError(unknownOption(name, specs))
    } else if (specs[name]?.type === 'boolean') {
      if (equals) throw new UsageError(`option --${name} takes no value`)
      options.push(argument)
    } else if (equals) {
      options.push(argument)
    } else {
      const value = argv[++at]
      if (value === undefined) {
        throw new UsageError(`option --${name} requires a value: --${name} ${specs[name]?.placeholder}`)
      }
      options.push(`${argument}=${value}`)
    }
  }
  return { options, positionals }
}

function unknownOption(name: string, specs: OptionSpecs): string {
  const similar = nearest(name, Object.keys(specs))
  if (similar !== undefined) return `unknown option; did you mean --${similar}?`
  const shown = /^[a-z][a-z-]{0,20}$/.test(name) ? ` --${name}` : ''
  return `unknown option${shown}; put -- before an id that starts with two dashes`
}
