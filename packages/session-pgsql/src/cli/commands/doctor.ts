import type { Server } from '../../servers/server.ts'
import { diagnose, type Finding, type Level } from '../../table/diagnose.ts'
import type { Command, Context } from '../command.ts'
import { failureOf } from '../failure.ts'
import { type Color, type Output, plural, wrap } from '../output.ts'

export const doctor: Command = {
  name: 'doctor',
  usage: '',
  summary: 'look for what is wrong or slow, and say how to mend it',
  details: `
Looks at every server of db and at its session table, and changes nothing: can
it be written, the user's rights, columns and indexes, integer dates, encoding,
durability, fill factor, autovacuum, the share of updates made in place (HOT),
dead rows, sessions that nobody sweeps, the journal, and the database's clock
against this machine's. Run it as the database user of the application.

Each finding is ok, a warning (it works, but worse than it could), or a problem
(something does not work), with the SQL or the command that mends it. SQL on the
table is for its owner. Exit code 1 on problems, not on warnings.

Examples
  session-pgsql doctor
  session-pgsql doctor --json | jq -r '.servers[].findings[].remedy[]'

JSON: { "problems", "warnings", "servers": [{ "server", "findings": [{ "check",
        "level": "ok", "warning" or "problem", "message",
        "remedy": [ … ] }] }] }`,
  flags: {},
  positionals: [0, 0],

  async run(context) {
    const { output } = context
    const servers = await Promise.all(context.servers.map((server) => examine(server, context)))
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

async function examine(server: Server, context: Context): Promise<{ server: string; findings: Finding[] }> {
  try {
    return { server: server.name, findings: await diagnose(server.table, context.deadline()) }
  } catch (error) {
    const { message } = failureOf(error)
    return {
      server: server.name,
      findings: [{ check: 'connection', level: 'problem', message, remedy: [] }],
    }
  }
}

const COLORS: Record<Level, Color> = { ok: 'green', warning: 'yellow', problem: 'red' }

/** Where messages begin. */
const INDENT = 28

function print({ check, level, message, remedy }: Finding, output: Output): void {
  const label = `  ${output.paint(COLORS[level], level.padEnd(7))}  ${check.padEnd(INDENT - 11)}`
  const indent = ' '.repeat(INDENT)
  const lines = wrap(message, Math.max(30, output.width - INDENT))
  output.line(`${label}${lines.join(`\n${indent}`)}`)
  // Not wrapped: it is to be copied.
  for (const line of remedy) output.line(`${' '.repeat(11)}${line}`)
}
