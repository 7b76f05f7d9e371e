import type { Server } from '../../servers/server.ts'
import type { Columns } from '../../session/columns.ts'
import { tableName } from '../../settings/table-name.ts'
import { addColumns } from '../../table/add-columns.ts'
import { createWithColumns } from '../../table/computed-columns.ts'
import {
  grantJournalStatement,
  grantStatements,
  readable,
  sqlName,
  type TableName,
} from '../../table/definition.ts'
import { createJournal } from '../../table/journal.ts'
import { userTriggerStatements } from '../../table/user-trigger.ts'
import { type Arguments, UsageError } from '../arguments.ts'
import type { Command, Context } from '../command.ts'
import { failureOf } from '../failure.ts'
import type { Output } from '../output.ts'
import { drizzleSchema } from '../schemas/drizzle.ts'
import { prismaSchema } from '../schemas/prisma.ts'
import { knexSchema, kyselySchema } from '../schemas/query-builders.ts'

const TOOLS = ['drizzle', 'prisma', 'knex', 'kysely'] as const

export const init: Command = {
  name: 'init',
  usage: '[--columns LIST] [--print [OPTION]...]',
  summary: 'create the session table, or print its SQL',
  details: `
Creates the session table with its indexes, and the journal table, on every
server of db that lacks them. Adds missing columns to an existing session table,
also those of --columns, with their indexes. Requests continue meanwhile.
It is safe to run this again, and in several processes at once. The save handler
does the same at its first use if the role is allowed to (setting createTable).

With --print the command prints the SQL and does not connect. The role that runs
the SQL owns the tables. The application needs only the privileges of the GRANT
statements at the end.

With --for drizzle, prisma, knex or kysely it prints the tables as a schema or
migration of that tool instead.

With --user-trigger it also prints a trigger that ends the sessions of a user
who is deleted from that table.

Examples:
  session-pgsql init --db postgresql://owner@db1/php_session
  session-pgsql init --print --role web > migrations/0042_sessions.sql
  session-pgsql init --print --table app.sessions --json
  session-pgsql init --columns user_id:bigint:index
  session-pgsql init --print --for drizzle > src/db/sessions.ts
  session-pgsql init --print --columns user_id:bigint:index --user-trigger users

JSON output:
  { "servers": [
    { "server", "table", "created", "columns": [], "indexes": [],
      "error": { "code", "message" } or null }] }
  with --print: { "statements": [] }; with --for: { "schema" }`,
  options: {
    print: { type: 'boolean', description: 'print the SQL and change nothing' },
    role: {
      type: 'string',
      placeholder: 'NAME',
      description: 'with --print: role of the GRANT statements (default: the user of db)',
    },
    for: {
      type: 'string',
      placeholder: 'TOOL',
      description: `with --print: ${TOOLS.join(', ')}`,
    },
    'user-trigger': {
      type: 'string',
      placeholder: 'TABLE',
      description: "with --print: the table of users, for a trigger that ends a deleted user's sessions",
    },
    'user-key': {
      type: 'string',
      placeholder: 'COLUMN',
      description: 'with --user-trigger: column that identifies a user in that table (default: id)',
    },
    'user-column': {
      type: 'string',
      placeholder: 'COLUMN',
      description: 'with --user-trigger: own column that contains it (default: user_id)',
    },
  },
  positionals: [0, 0],
  createsTable: true,

  async run(context) {
    if (context.arguments.has('print')) return print(context)
    for (const option of ['role', 'for', 'user-trigger', 'user-key', 'user-column']) {
      if (context.arguments.has(option)) throw new UsageError(`--${option} requires --print`)
    }
    const { output } = context
    const servers = await Promise.all(context.servers.map((server) => createTable(server, context)))
    if (output.isJson) {
      output.json({ servers })
    } else {
      for (const { server, table, created, columns, indexes, error } of servers) {
        if (error === null || table !== null) {
          output.line(`${server}: table ${table} ${created ? 'created' : 'already exists'}`)
        }
        if (columns.length > 0) output.line(`${server}: columns added: ${columns.join(', ')}`)
        for (const statement of indexes) output.line(`${server}: ${statement}`)
        if (error !== null) output.error(`${server}: ${error.message}`, error.code)
      }
    }
    return servers.some(({ error }) => error !== null) ? 1 : 0
  },
}

async function createTable(server: Server, context: Context) {
  const result = {
    ...{ server: server.name, table: null as string | null, created: false },
    ...{ columns: [] as readonly string[], indexes: [] as readonly string[] },
  }
  try {
    const before = await server.table.inspect(context.deadline())
    const { name } = await server.table.open(context.deadline())
    await createJournal(server.table, context.deadline())
    Object.assign(result, { table: sqlName(name), created: before.found === undefined })
    const { columns, indexes } = await addColumns(server.table, context.deadline())
    return { ...result, columns, indexes, error: null }
  } catch (error) {
    return { ...result, error: failureOf(error) }
  }
}

function print({ arguments: args, output, settings }: Context): number {
  const { schema, name: table } = settings.table
  // Without a connection the search path is unknown. `public` is in the default one.
  const name: TableName = { schema: schema ?? 'public', table }
  const tool = args.text('for')
  if (tool !== undefined) return printSchema(tool, name, args, output, settings.columns)
  const [entry] = settings.db
  const role = args.text('role') ?? (entry?.kind === 'conninfo' ? entry.conninfo.user : 'php_session')
  const ddl = createWithColumns(name, settings.columns).map(readable)
  const grants = [...grantStatements(name, role), grantJournalStatement(name, role)]
  const trigger = userTrigger(name, args, settings.columns).map(readable)
  if (output.isJson) {
    output.json({ statements: [...ddl, ...trigger, ...grants] })
  } else {
    for (const statement of [...ddl, ...trigger]) output.line(`${statement};\n`)
    output.line("-- Not needed if the application's role owns the table:")
    for (const statement of grants) output.line(`${statement};`)
  }
  return 0
}

const SCHEMAS = {
  drizzle: drizzleSchema,
  prisma: prismaSchema,
  knex: knexSchema,
  kysely: kyselySchema,
} as const

/** Prints the tables for another tool. @throws UsageError */
function printSchema(
  tool: string,
  name: TableName,
  args: Arguments,
  output: Output,
  columns: Columns,
): number {
  if (!Object.hasOwn(SCHEMAS, tool)) throw new UsageError(`--for: expected one of ${TOOLS.join(', ')}`)
  for (const option of ['role', 'user-trigger']) {
    if (args.has(option)) throw new UsageError(`--${option} and --for cannot be used together`)
  }
  const schema = SCHEMAS[tool as keyof typeof SCHEMAS](name, columns)
  if (output.isJson) output.json({ schema })
  else output.line(schema)
  return 0
}

/** Returns the statements of --user-trigger. @throws UsageError if the column is not one of --columns */
function userTrigger(sessions: TableName, args: Arguments, columns: Columns): string[] {
  const users = args.text('user-trigger')
  if (users === undefined) {
    const option = args.oneOf('user-key', 'user-column')
    if (option !== undefined) throw new UsageError(`--${option} requires --user-trigger`)
    return []
  }
  const { schema = sessions.schema, name: table } = tableName('--user-trigger', users)
  const wanted = args.text('user-column') ?? 'user_id'
  const column = columns.all.find(({ name }) => name === wanted)
  if (column === undefined) {
    throw new UsageError(
      'expected the column with the user to be among --columns: --columns user_id:bigint:index, or name another with --user-column',
    )
  }
  return userTriggerStatements(sessions, {
    name: { schema, table },
    key: args.text('user-key') ?? 'id',
    column,
  })
}
