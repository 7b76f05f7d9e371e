import { GENERAL_OPTIONS, type OptionSpecs } from './arguments.ts'
import type { Command } from './command.ts'
import { wrap } from './output.ts'

const WIDTH = 80

/** Returns the text of `session-pgsql --help`. */
export function generalHelp(commands: readonly Command[]): string {
  return `session-pgsql manages PostgreSQL session tables and the sessions in them.

Usage:
  session-pgsql COMMAND [OPTION]...

Commands:
${rows(commands.map(({ name, summary }) => [name, summary]))}
Run "session-pgsql COMMAND --help" for the options of a command and examples.

General options:
${optionRows({ ...GENERAL_OPTIONS, version: { type: 'boolean', description: 'show the version, then exit' } })}
Database and settings:
  The database comes from --db; if that is unset, from session_pgsql.db in the
  php.ini of --ini; then from SESSION_PGSQL_DB, DATABASE_URL, or libpq's PGHOST,
  PGDATABASE, PGUSER, ... in the environment.
  All other settings can be in the php.ini (session_pgsql.keep_expired) or in
  the environment (SESSION_PGSQL_KEEP_EXPIRED).
  Other users of this machine can see your command line. Keep passwords in
  ~/.pgpass or in the environment.

Output:
  Text by default, JSON with --json. The JSON fields are stable across versions.
  Set NO_COLOR to turn colors off.

Exit codes:
  0         success
  1         failure: for example, a server is unreachable, a session does not
            exist, or doctor found a problem
  2         invalid command line or setting
  130, 143  terminated by SIGINT or SIGTERM
`
}

/** Returns the text of `session-pgsql COMMAND --help`. */
export function commandHelp({ name, usage, summary, details, options }: Command): string {
  const own = Object.keys(options).length === 0 ? '' : `Options:\n${optionRows(options)}\n`
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.

Usage:
  ${`session-pgsql ${name} ${usage}`.trimEnd()}

${details.trim()}

${own}General options:
${optionRows(GENERAL_OPTIONS)}`
}

function optionRows(options: OptionSpecs): string {
  return rows(
    Object.entries(options).map(([name, { placeholder, description }]) => [
      `--${name}${placeholder === undefined ? '' : ` ${placeholder}`}`,
      description,
    ]),
  )
}

function rows(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([left]) => left.length))
  const indent = ' '.repeat(width + 4)
  return pairs
    .map(([left, right]) => {
      const text = wrap(right, WIDTH - indent.length).join(`\n${indent}`)
      return `  ${left.padEnd(width)}  ${text}\n`
    })
    .join('')
}
