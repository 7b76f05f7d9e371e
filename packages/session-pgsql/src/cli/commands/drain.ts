import { codecNamed } from '../../codec/codecs.ts'
import { settleApart } from '../../handler/write.ts'
import { moveRow } from '../../servers/move-row.ts'
import type { Server } from '../../servers/server.ts'
import type { MergeTexts } from '../../servers/settle.ts'
import { NO_FUNCTIONS } from '../../servers/settled-columns.ts'
import { MARK } from '../../table/id-forms.ts'
import { gt, ne } from '../../table/sql.ts'
import { UsageError } from '../arguments.ts'
import type { Command, Context } from '../command.ts'
import { number, plural } from '../output.ts'
import { homeOf, placedServers } from '../placement.ts'

/** Ids that one statement reads. */
const PAGE = 500

/** The mark of a table with hashed ids belongs to no session, and stays. */
const IS_NO_MARK = ne('t.sess_id', `'${MARK}'`)

/** Rows that move at the same time. */
const CONCURRENCY = 8

export const drain: Command = {
  name: 'drain',
  usage: 'SERVER',
  summary: 'move all sessions off one of several servers',
  details: `
Moves every session of one entry of db to its home server among the other
entries. SERVER is the name of the entry, as status shows it. To remove a server
without logging users out:

  1. Set weight=0 for the entry in every application. The server then gets no
     new sessions; its sessions are still found, and move when they are used.
  2. Run "session-pgsql drain SERVER" with the same list of servers.
  3. Remove the entry from every application.

You can interrupt the command and run it again. The exit code is 1 if rows are
left.

Examples:
  session-pgsql drain db3 --db 'host=db1 name=db1; host=db3 name=db3 weight=0'

JSON output:
  { "server", "brought", "merged", "dropped", "left" }

  brought  sessions moved without changes
  merged   sessions merged with a newer version on their home server
  dropped  sessions that had ended
  left     rows that are still on the server`,
  options: {},
  positionals: [1, 1],
  gracePeriod: 5000,

  async run(context) {
    const { arguments: args, output, servers, settings, signal } = context
    const [name] = args.positionals
    const from = servers.find((server) => server.name === name)
    if (from === undefined) {
      throw new UsageError(`unknown server; there are ${servers.map((one) => one.name).join(', ')}`)
    }
    const others = placedServers(context).filter(({ server, weight }) => server !== from && weight > 0)
    if (others.length === 0) {
      throw new UsageError('expected at least one other server in db, with a weight above 0')
    }
    const counts = { brought: 0, merged: 0, dropped: 0 }
    const merge = mergeOf(context)
    let after = ''
    while (!signal.aborted) {
      const ids = await readPage(from, after, context)
      if (ids.length === 0) break
      after = ids.at(-1) as string
      const work = async (): Promise<void> => {
        for (let id = ids.pop(); id !== undefined && !signal.aborted; id = ids.pop()) {
          const to = homeOf(id, others, settings.failoverMode)
          const options = { merge, columns: NO_FUNCTIONS, mayBeElsewhere: true, deadline: context.deadline() }
          const outcome = await moveRow(id, from, to, options)
          if (outcome !== undefined) counts[outcome]++
        }
      }
      await Promise.all(Array.from({ length: CONCURRENCY }, work))
      output.progress(`${number(counts.brought + counts.merged + counts.dropped)} moved`)
    }
    output.progress('')
    const left = await countRows(from, context)
    if (output.isJson) output.json({ server: from.name, ...counts, left })
    else {
      const { brought, merged, dropped } = counts
      output.line(
        `${plural(brought + merged, 'session')} moved, ${number(merged)} of them merged; ${number(dropped)} dropped because they had ended.`,
      )
      if (left > 0)
        output.line(
          `${plural(left, 'row')} left on ${from.name}. Set weight=0 for it in every application, then run drain again. Rows with own columns that must be merged are moved by the applications only.`,
        )
    }
    return left > 0 ? 1 : 0
  },
}

/** Returns the merge of two versions of a session. The command counts merges and reports nothing else about them. */
function mergeOf(context: Context): MergeTexts {
  const { conflict, codec: name } = context.settings
  const codec = codecNamed(name)
  return (text, theirs, seen, ofTwoUsers) => {
    const difference = { text, seen, codec, conflict, deadline: context.deadline() }
    return settleApart(difference, theirs, ofTwoUsers, () => {})
  }
}

async function readPage(server: Server, after: string, context: Context): Promise<string[]> {
  const rows = await server.table.query(
    (_shape, sql) =>
      `SELECT t.sess_id FROM ${sql} t WHERE ${gt('t.sess_id', '$1')} AND ${IS_NO_MARK} ORDER BY t.sess_id LIMIT ${PAGE}`,
    [after],
    context.deadline(),
  )
  return rows.map(([id]) => id as string)
}

async function countRows(server: Server, context: Context): Promise<number> {
  const [row] = await server.table.query(
    (_shape, sql) => `SELECT pg_catalog.count(*) FROM ${sql} t WHERE ${IS_NO_MARK}`,
    [],
    context.deadline(),
  )
  return Number(row?.[0])
}
