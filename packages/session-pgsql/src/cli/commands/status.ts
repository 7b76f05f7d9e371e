import { setTimeout } from 'node:timers/promises'
import type { Server } from '../../servers/server.ts'
import { sharesOf } from '../../servers/servers.ts'
import { describeSettings } from '../../settings/settings.ts'
import { sqlName } from '../../table/definition.ts'
import { countSessions } from '../../table/listing.ts'
import type { Command, Context } from '../command.ts'
import { type Failure, failureOf } from '../failure.ts'
import { number, relative } from '../output.ts'

export const status: Command = {
  name: 'status',
  usage: '[--watch]',
  summary: 'show settings, and the health and session counts of each server',
  details: `
Shows the role, the health and the number of sessions of every server of db, and
the settings of this command: those that an application without options of its
own gets from the same php.ini and environment. Options in an application's code
and defaults of an adapter are not included. Passwords are never shown.

  EXPIRED     expired sessions that are still in the table: not yet removed by
              garbage collection, or kept by keepExpired
  SHARE       with several servers: percentage of the ids that it is home to
  AWAY        with several servers: rows that it stores as a fallback server
  SINCE       when this command saw the health change
  CALLS       statements that this command has sent
  ERRORS      statements that have failed
  LAST ERROR  the last failure, also after recovery: with --watch it shows past
              outages

Counting sessions reads the whole table, which takes seconds with millions of
rows. The exit code is 1 if a server or its table cannot be used.

Examples:
  session-pgsql status
  session-pgsql status --ini /etc/php/8.4/fpm/php.ini
  session-pgsql status --watch
  session-pgsql status --json | jq '.servers[] | {name, health, active}'

JSON output:
  { "settings": { ... }, "servers": [
    { "name", "role", "health", "table", "active", "expired", "share", "away",
      "since", "calls", "errors", "lastError": string or null,
      "error": { "code", "message" } or null }] }`,
  options: { watch: { type: 'boolean', description: 'repeat every two seconds until interrupted' } },
  positionals: [0, 0],

  async run(context) {
    const { arguments: args, output, signal } = context
    for (;;) {
      const code = await print(context)
      if (!args.has('watch')) return code
      await setTimeout(INTERVAL, undefined, { signal }).catch(() => {})
      if (signal.aborted) return code
      output.redraw()
    }
  },
}

/** Milliseconds between two outputs of `--watch`. */
const INTERVAL = 2000

async function print(context: Context): Promise<number> {
  const { output, configured } = context
  const servers = await Promise.all(context.servers.map((server) => statusOf(server, context)))
  const several = servers.length > 1
  const described = describeSettings(configured)
  if (output.isJson) {
    output.json({ settings: described, servers })
  } else {
    output.table(
      [
        { header: 'SERVER', shrinks: true },
        { header: 'ROLE' },
        { header: 'HEALTH' },
        { header: 'TABLE', shrinks: true },
        { header: 'ACTIVE', right: true },
        { header: 'EXPIRED', right: true },
        ...(several
          ? [
              { header: 'SHARE', right: true },
              { header: 'AWAY', right: true },
            ]
          : []),
      ],
      servers.map(({ name, role, health, table, active, expired, share, away }) => [
        name,
        role,
        health,
        table ?? '-',
        active === null ? '-' : number(active),
        expired === null ? '-' : number(expired),
        ...(several ? [`${Math.round(share * 100)} %`, away === null ? '-' : number(away)] : []),
      ]),
    )
    output.line()
    output.table(
      [
        { header: 'SERVER', shrinks: true },
        { header: 'SINCE', right: true },
        { header: 'CALLS', right: true },
        { header: 'ERRORS', right: true },
        { header: 'LAST ERROR', shrinks: true },
      ],
      servers.map(({ name, since, calls, errors, lastError }) => [
        name,
        relative(since),
        number(calls),
        number(errors),
        lastError ?? '-',
      ]),
    )
    output.line()
    const { db: _, ...others } = described
    output.line(output.paint('bold', 'SETTINGS OF THIS COMMAND'))
    output.pairs(Object.entries(others).map(([name, value]) => [name, String(value)]))
    for (const { name, error } of servers) {
      if (error !== null) output.error(`${name}: ${error.message}`, error.code)
    }
  }
  return servers.some(({ error }) => error !== null) ? 1 : 0
}

async function statusOf(server: Server, context: Context) {
  let counts: { table: string | null; active: number | null; expired: number | null; away: number | null } = {
    table: null,
    away: null,
    active: null,
    expired: null,
  }
  let error: Failure | null = null
  try {
    const { name } = await server.table.open(context.deadline())
    counts = { ...counts, table: sqlName(name) }
    const [active, expired] = await Promise.all([
      countSessions(server.table, { active: true }, context.deadline()),
      countSessions(server.table, { active: false }, context.deadline()),
    ])
    counts = { ...counts, active, expired }
    const [row] = await server.table.query(
      ({ added }, sql) =>
        `SELECT pg_catalog.count(*) FROM ${sql} WHERE ${added.has('sess_home') ? 'sess_home IS NOT NULL' : 'false'}`,
      [],
      context.deadline(),
    )
    counts = { ...counts, away: Number(row?.[0]) }
  } catch (reason) {
    error = failureOf(reason)
  }
  const { name, role, health, since, calls, errors, lastError = null } = server.status()
  const share = sharesOf(context.settings).get(name) ?? 0
  return { name, role, health, ...counts, share, since, calls, errors, lastError, error }
}
