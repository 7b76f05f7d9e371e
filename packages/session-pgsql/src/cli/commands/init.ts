import type { Server } from '../../servers/server.ts'
import { createWithColumns } from '../../table/computed-columns.ts'
import {
  grantJournalStatement,
  grantStatements,
  readable,
  sqlName,
  type TableName,
} from '../../table/definition.ts'
import { createJournal } from '../../table/journal.ts'
import { UsageError } from '../arguments.ts'
import type { Command, Context } from '../command.ts'
import { failureOf } from '../failure.ts'

export const init: Command = {
  name: 'init',
  usage: '[--print [--role NAME]]',
  summary: 'create the session table, or print its SQL',
  details: `
Creates the session table with its indexes, and the journal table, on every
server of db that lacks them. Adds missing columns to an existing session table.
It is safe to run this again, and in several processes at once. The save handler
does the same at its first use if the role is allowed to (setting createTable).

With --print the command prints the SQL and does not connect. The role that runs
the SQL owns the tables. The application needs only the privileges of the GRANT
statements at the end.

Examples:
  session-pgsql init --db postgresql://owner@db1/php_session
  session-pgsql init --print --role web > migrations/0042_sessions.sql
  session-pgsql init --print --table app.sessions --json

JSON output:
  { "servers": [
    { "server", "table", "created", "error": { "code", "message" } or null }] }
  with --print: { "statements": [] }`,
  options: {
    print: { type: 'boolean', description: 'print the SQL and change nothing' },
    role: {
      type: 'string',
      placeholder: 'NAME',
      description: 'with --print: role of the GRANT statements (default: the user of db)',
    },
  },
  positionals: [0, 0],
  createsTable: true,

  async run(context) {
    if (context.arguments.has('print')) return print(context)
    if (context.arguments.has('role')) throw new UsageError('--role requires --print')
    const { output } = context
    const servers = await Promise.all(context.servers.map((server) => createTable(server, context)))
    if (output.isJson) {
      output.json({ servers })
    } else {
      for (const { server, table, created, error } of servers) {
        if (error !== null) output.error(`${server}: ${error.message}`, error.code)
        else output.line(`${server}: table ${table} ${created ? 'created' : 'already exists'}`)
      }
    }
    return servers.some(({ error }) => error !== null) ? 1 : 0
  },
}

async function createTable(server: Server, context: Context) {
  const result = { server: server.name, table: null as string | null, created: false }
  try {
    const before = await server.table.inspect(context.deadline())
    const { name } = await server.table.open(context.deadline())
    await createJournal(server.table, context.deadline())
    return { ...result, table: sqlName(name), created: before.found === undefined, error: null }
  } catch (error) {
    return { ...result, error: failureOf(error) }
  }
}

function print({ arguments: args, output, settings }: Context): number {
  const { schema, name: table } = settings.table
  // Without a connection the search path is unknown. `public` is in the default one.
  const name: TableName = { schema: schema ?? 'public', table }
  const [entry] = settings.db
  const role = args.text('role') ?? (entry?.kind === 'conninfo' ? entry.conninfo.user : 'php_session')
  const ddl = createWithColumns(name, settings.columns).map(readable)
  const grants = [...grantStatements(name, role), grantJournalStatement(name, role)]
  if (output.isJson) {
    output.json({ statements: [...ddl, ...grants] })
  } else {
    for (const statement of ddl) output.line(`${statement};\n`)
    output.line("-- Not needed if the application's role owns the table:")
    for (const statement of grants) output.line(`${statement};`)
  }
  return 0
}
