import { codecNamed } from '../../codec/codecs.ts'
import { settleApart } from '../../handler/write.ts'
import { moveRow } from '../../servers/failback.ts'
import { rank } from '../../servers/placement.ts'
import type { Server } from '../../servers/server.ts'
import { weightOf } from '../../servers/servers.ts'
import type { MergeTexts } from '../../servers/settle.ts'
import { gt } from '../../table/sql.ts'
import type { Command, Context } from '../command.ts'
import { UsageError } from '../flags.ts'
import { number, plural } from '../output.ts'

/** Rows that are asked for at a time, and carried at once. */
const PAGE = 500
const AT_ONCE = 8

export const drain: Command = {
  name: 'drain',
  usage: 'SERVER',
  summary: 'empties one of several servers that is to go',
  details: `
Carries every session of one entry of db to where it belongs among the others.
SERVER is its name, as status shows it. Three steps, without anybody logged out:

  1. give the entry weight=0 in every application: it is home to no session any
     more, and what still lies there is found and brought when it is asked for
  2. session-pgsql drain SERVER, with the same list of servers
  3. take the entry out of the applications

It may be interrupted and begun again. Exit code 1 if something is left.

Examples
  session-pgsql drain db3 --db 'host=db1 name=db1; host=db3 name=db3 weight=0'

JSON: { "server", "brought", "merged", "dropped", "left" }`,
  flags: {},
  positionals: [1, 1],
  patience: 5000,

  async run(context) {
    const { arguments: given, output, servers, settings, signal } = context
    const [name] = given.positionals
    const from = servers.find((server) => server.name === name)
    if (from === undefined) {
      throw new UsageError(
        `there is no server of this name; there are ${servers.map((one) => one.name).join(', ')}`,
      )
    }
    const others = servers.flatMap((server, index) => {
      const entry = settings.db[index]
      const weight = entry === undefined ? 1 : weightOf(entry)
      return server === from || weight === 0 ? [] : [{ name: server.name, weight, server }]
    })
    if (others.length === 0) throw new UsageError('there is no other server to take its sessions')
    const counts = { brought: 0, merged: 0, dropped: 0 }
    let after = ''
    while (!signal.aborted) {
      const ids = await page(from, after, context)
      if (ids.length === 0) break
      after = ids.at(-1) as string
      const work = async (): Promise<void> => {
        for (let id = ids.pop(); id !== undefined && !signal.aborted; id = ids.pop()) {
          const home = settings.failoverMode ? others[0] : rank(id, others)[0]
          const to = (home as (typeof others)[number]).server
          const arrival = await moveRow(id, from, to, merging(context), context.deadline())
          if (arrival !== undefined) counts[arrival]++
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, work))
      output.progress(`${number(counts.brought + counts.merged + counts.dropped)} carried`)
    }
    output.progress('')
    const left = await rowsOf(from, context)
    if (output.isJson) output.json({ server: from.name, ...counts, left })
    else {
      const { brought, merged, dropped } = counts
      output.line(
        `${plural(brought + merged, 'session')} carried, ${number(merged)} of them merged; ${number(dropped)} were over.`,
      )
      if (left > 0)
        output.line(
          `${plural(left, 'row')} left on ${from.name}: is weight=0 set in every application? Run it again.`,
        )
    }
    return left > 0 ? 1 : 0
  },
}

/** What was merged is counted: nothing more is said of it. */
function merging(context: Context): MergeTexts {
  const { conflict, codec: name } = context.settings
  const codec = codecNamed(name)
  return (text, theirs, seen) =>
    settleApart({ text, seen, codec, conflict, deadline: context.deadline() }, theirs, () => {})
}

async function page(server: Server, after: string, context: Context): Promise<string[]> {
  const rows = await server.table.query(
    (_shape, sql) =>
      `SELECT t.sess_id FROM ${sql} t WHERE ${gt('t.sess_id', '$1')} ORDER BY t.sess_id LIMIT ${PAGE}`,
    [after],
    context.deadline(),
  )
  return rows.map(([id]) => id as string)
}

async function rowsOf(server: Server, context: Context): Promise<number> {
  const [row] = await server.table.query(
    (_shape, sql) => `SELECT pg_catalog.count(*) FROM ${sql}`,
    [],
    context.deadline(),
  )
  return Number(row?.[0])
}
