import type { Command } from './command.ts'
import { COMMON, type Flags } from './flags.ts'
import { wrap } from './output.ts'

const WIDTH = 80

export function generalHelp(commands: readonly Command[]): string {
  return `session-pgsql: sessions in PostgreSQL, from the command line

Usage: session-pgsql COMMAND [FLAGS]

Commands
${rows(commands.map(({ name, summary }) => [name, summary]))}
session-pgsql COMMAND --help tells more, with examples.

Flags of every command
${flagRows({ ...COMMON, version: { type: 'boolean', about: 'the version of this program' } })}
Which database
  --db, else the php.ini of --ini (session_pgsql.db), else the environment:
  SESSION_PGSQL_DB, DATABASE_URL, or libpq's PGHOST, PGDATABASE, PGUSER, …
  Every other setting can be in the php.ini (session_pgsql.keep_expired) or the
  environment (SESSION_PGSQL_KEEP_EXPIRED) too.
  Others on the machine can see a command line: keep passwords in ~/.pgpass or
  in the environment.

Output
  Tables for people; --json for programs, whose fields stay as they are from
  version to version. NO_COLOR turns colors off.

Exit codes
  0   done
  1   failure: the database cannot be reached, there is no such session, doctor
      has found a problem, …
  2   the command line or a setting is wrong
  130, 143   ended by SIGINT, SIGTERM
`
}

export function commandHelp({ name, usage, summary, details, flags }: Command): string {
  const own = Object.keys(flags).length === 0 ? '' : `Flags\n${flagRows(flags)}\n`
  return `${`session-pgsql ${name} ${usage}`.trimEnd()}

${summary.charAt(0).toUpperCase()}${summary.slice(1)}.

${details.trim()}

${own}Flags of every command
${flagRows(COMMON)}`
}

function flagRows(flags: Flags): string {
  return rows(
    Object.entries(flags).map(([name, { value, about }]) => [
      `--${name}${value === undefined ? '' : ` ${value}`}`,
      about,
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
