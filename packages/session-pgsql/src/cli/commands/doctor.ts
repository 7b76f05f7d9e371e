import type { Query } from '../../database/database.ts'
import type { Server } from '../../servers/server.ts'
import type { DatabaseEntry } from '../../settings/settings.ts'
import { diagnose } from '../../table/diagnose.ts'
import { type Finding, type Level, problem } from '../../table/finding.ts'
import type { Command, Context } from '../command.ts'
import { failureOf } from '../failure.ts'
import { type Color, type Output, plural, wrap } from '../output.ts'
import { aboutLogging, aboutSettings, aboutStoredRows, reviewed } from '../security.ts'

export const doctor: Command = {
  name: 'doctor',
  usage: '',
  summary: 'check the servers and the session table, and print fixes',
  details: `
Checks every server of db and its session table: write access, privileges,
columns, indexes, integer dates, encoding, durability, fill factor, autovacuum,
HOT updates, dead rows, overdue garbage collection, the journal, and the
difference between the clocks of the server and of this machine. Also checks
which other roles can change sessions: the owner of the tables, triggers, rules,
row-level security, grants to PUBLIC or to the roles of a web API, and roles
that may create objects in a schema of the search path. It changes nothing. Run
it as the database user of the application.

With --security it checks the list of docs/security-review.md instead: roles
that can change sessions, plain ids, encryption, maxLifetime, TLS to another
machine, rows that are not stored as configured, and logging that shows ids. Run
it with the application's php.ini, environment or options. It cannot see
settings that an application makes in its code.

The level of a finding is "ok", "warning" (works, but not well) or "problem"
(does not work). Warnings and problems come with the SQL or the command that
fixes them, if there is one; only the owner of the table can run SQL on it.
The exit code is 1 if there are problems. Warnings do not change it.

Examples:
  session-pgsql doctor
  session-pgsql doctor --security --ids hashed --encryption-keys keys
  session-pgsql doctor --security --json | jq -e '.problems + .warnings == 0'
  session-pgsql doctor --json | jq -r '.servers[].findings[].remedy[]'

JSON output:
  { "problems", "warnings", "servers": [
    { "server", "findings": [{ "check", "level", "message", "remedy": [] }] }] }`,
  options: {
    security: { type: 'boolean', description: 'report what a security review would find open' },
  },
  positionals: [0, 0],

  async run(context) {
    const { output } = context
    const check = context.arguments.has('security') ? review : diagnoseServer
    const servers = await Promise.all(
      context.servers.map(async (server, index) => ({
        server: server.name,
        findings: await check(server, context, context.settings.db[index] as DatabaseEntry),
      })),
    )
    const all = servers.flatMap(({ findings }) => findings)
    const count = (level: Level): number => all.filter((finding) => finding.level === level).length
    const [problems, warnings] = [count('problem'), count('warning')]
    if (output.isJson) {
      output.json({ problems, warnings, servers })
    } else {
      for (const { server, findings } of servers) {
        output.line(output.paint('bold', server))
        for (const finding of findings) print(finding, output)
        output.line()
      }
      output.line(`${plural(problems, 'problem')}, ${plural(warnings, 'warning')}, ${count('ok')} ok.`)
    }
    return problems > 0 ? 1 : 0
  },
}

async function diagnoseServer(server: Server, context: Context): Promise<Finding[]> {
  return await unlessUnreachable(() => diagnose(server.table, context.deadline()))
}

async function review(server: Server, context: Context, entry: DatabaseEntry): Promise<Finding[]> {
  const { table } = server
  const { settings } = context
  const query: Query = (statement, parameters) =>
    table.queryUnopened(statement, parameters, context.deadline())
  const findings = await unlessUnreachable(async () => {
    const inspection = await table.inspect(context.deadline())
    const { found } = inspection
    return [
      ...reviewed(await diagnose(table, context.deadline())),
      ...(found === undefined || found.missingPrivileges.length > 0
        ? []
        : await aboutStoredRows(query, found, settings)),
      await aboutLogging(query, inspection, settings),
    ]
  })
  return [...aboutSettings(settings, entry), ...findings]
}

async function unlessUnreachable(check: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await check()
  } catch (error) {
    return [problem('connection', failureOf(error).message)]
  }
}

const COLORS: Record<Level, Color> = { ok: 'green', warning: 'yellow', problem: 'red' }

/** The column in which messages start. */
const INDENT = 28

function print({ check, level, message, remedy }: Finding, output: Output): void {
  const label = `  ${output.paint(COLORS[level], level.padEnd(7))}  ${check.padEnd(INDENT - 11)}`
  const indent = ' '.repeat(INDENT)
  const lines = wrap(message, Math.max(30, output.width - INDENT))
  output.line(`${label}${lines.join(`\n${indent}`)}`)
  // Not wrapped, so that it can be copied.
  for (const line of remedy) output.line(`${' '.repeat(11)}${line}`)
}
