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
  summary: 'settings in force; how each server is, and how many sessions it has',
  details: `
Shows the settings that an application has with the same flags, php.ini and
environment, never with a password; and asks every server of db for its role and
its number of sessions. With several servers, SHARE is the part of the ids whose
home it is, and AWAY how many rows it keeps for others. Expired ones are those
that GC has not come to yet (or, with keepExpired, keeps). It counts row by row:
on a table of millions that takes seconds each time.

SINCE is how long this command has seen the server in its present health; CALLS
and ERRORS count what it has sent, and LAST ERROR stays when all is well again:
with --watch, that is how one sees an outage that was.

Exit code 1 if a server or its table cannot be used.

Examples
  session-pgsql status
  session-pgsql status --ini /etc/php/8.4/fpm/php.ini
  session-pgsql status --watch
  session-pgsql status --json | jq '.servers[] | {name, health, active}'

JSON: { "settings": { … }, "servers": [{ "name", "role", "health", "table",
        "active", "expired", "share", "away",
        "since", "calls", "errors", "lastError": text or null,
        "error": { "code", "message" } or null }] }`,
  flags: { watch: { type: 'boolean', about: 'show it again every two seconds, until interrupted' } },
  positionals: [0, 0],

  async run(context) {
    const { arguments: given, output, signal } = context
    for (;;) {
      const code = await show(context)
      if (!given.has('watch')) return code
      await setTimeout(INTERVAL, undefined, { signal }).catch(() => {})
      if (signal.aborted) return code
      output.redraw()
    }
  },
}

/** Milliseconds between two looks of `--watch`. */
const INTERVAL = 2000

async function show(context: Context): Promise<number> {
  const { output, configured } = context
  const servers = await Promise.all(context.servers.map((server) => look(server, context)))
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
    output.facts(Object.entries(others).map(([name, value]) => [name, String(value)]))
    for (const { name, error } of servers) {
      if (error !== null) output.error(`${name}: ${error.message}`, error.code)
    }
  }
  return servers.some(({ error }) => error !== null) ? 1 : 0
}

async function look(server: Server, context: Context) {
  let found: { table: string | null; active: number | null; expired: number | null; away: number | null } = {
    table: null,
    away: null,
    active: null,
    expired: null,
  }
  let error: Failure | null = null
  try {
    const { name } = await server.table.open(context.deadline())
    found = { ...found, table: sqlName(name) }
    const [active, expired] = await Promise.all([
      countSessions(server.table, { active: true }, context.deadline()),
      countSessions(server.table, { active: false }, context.deadline()),
    ])
    found = { ...found, active, expired }
    const [row] = await server.table.query(
      ({ added }, sql) =>
        `SELECT pg_catalog.count(*) FROM ${sql} WHERE ${added.has('sess_home') ? 'sess_home IS NOT NULL' : 'false'}`,
      [],
      context.deadline(),
    )
    found = { ...found, away: Number(row?.[0]) }
  } catch (reason) {
    error = failureOf(reason)
  }
  const { name, role, health, since, calls, errors, lastError = null } = server.status()
  const share = sharesOf(context.settings).get(name) ?? 0
  return { name, role, health, ...found, share, since, calls, errors, lastError, error }
}
