import type { Server } from '../../servers/server.ts'
import {
  createStatements,
  grantJournalStatement,
  grantStatements,
  sqlName,
  type TableName,
} from '../../table/definition.ts'
import { createJournal } from '../../table/journal.ts'
import type { Command, Context } from '../command.ts'
import { failureOf } from '../failure.ts'
import { UsageError } from '../flags.ts'

export const init: Command = {
  name: 'init',
  usage: '[--print [--role NAME]]',
  summary: 'create the session table, or print the SQL that does',
  details: `
Creates the table on every server of db where it is missing, with its indexes
and storage settings, and adds to an existing one the columns that it lacks;
beside it the journal, a small table of what has happened to the servers.
It may be called again, and by several processes at once. The save handler does
the same by itself when it is first used (option createTable), if the database
user may.

--print writes the statements and connects to nothing: for those who migrate by
themselves. Whoever runs them owns the table; the role of the application needs
no more than the GRANTs at the end.

Examples
  session-pgsql init --db postgresql://owner@db1/php_session
  session-pgsql init --print --role web > migrations/0042_sessions.sql
  session-pgsql init --print --table app.sessions --json

JSON: { "servers": [{ "server", "table", "created", "error" }] }
      with --print: { "statements": [ … ] }`,
  flags: {
    print: { type: 'boolean', about: 'write the DDL and the GRANTs, and do nothing' },
    role: { type: 'string', value: 'NAME', about: 'whom to GRANT to (the user of db)' },
  },
  positionals: [0, 0],
  createsTable: true,

  async run(context) {
    if (context.arguments.has('print')) return print(context)
    if (context.arguments.has('role')) throw new UsageError('--role goes with --print')
    const { output } = context
    const servers = await Promise.all(context.servers.map((server) => create(server, context)))
    if (output.isJson) {
      output.json({ servers })
    } else {
      for (const { server, table, created, error } of servers) {
        if (error !== null) output.error(`${server}: ${error.message}`, error.code)
        else output.line(`${server}: ${table} ${created ? 'has been created' : 'is there'}`)
      }
    }
    return servers.some(({ error }) => error !== null) ? 1 : 0
  },
}

async function create(server: Server, context: Context) {
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

function print({ arguments: given, output, settings }: Context): number {
  const { schema, name: table } = settings.table
  // Where `public` is not the first schema of the search path, it is at least in it.
  const name: TableName = { schema: schema ?? 'public', table }
  const [entry] = settings.db
  const role = given.text('role') ?? (entry?.kind === 'conninfo' ? entry.conninfo.user : 'php_session')
  const ddl = createStatements(name)
  const grants = [...grantStatements(name, role), grantJournalStatement(name, role)]
  if (output.isJson) {
    output.json({ statements: [...ddl, ...grants] })
  } else {
    for (const statement of ddl) output.line(`${statement};\n`)
    output.line('-- Not needed where the application owns the table:')
    for (const statement of grants) output.line(`${statement};`)
  }
  return 0
}
