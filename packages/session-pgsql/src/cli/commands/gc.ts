import type { Server } from '../../servers/server.ts'
import { createId } from '../../session/id.ts'
import { writeEvent } from '../../table/journal.ts'
import { countDue, sweep } from '../../table/sweep.ts'
import type { Command, Context } from '../command.ts'
import { type Failure, failureOf } from '../failure.ts'
import { bar, number, plural } from '../output.ts'

export const gc: Command = {
  name: 'gc',
  usage: '[--dry-run] [--quiet]',
  summary: 'remove expired sessions; for cron',
  details: `
Removes what expired more than a minute ago, on every server, in batches that
hold up nobody. Where another process is at it, it is left to that one; that is
no failure. With the setting keepExpired it empties sessions instead: it must
be set here as it is in the application (--keep-expired, --ini, or
SESSION_PGSQL_KEEP_EXPIRED).

The save handler does the same every gcInterval seconds. To leave it to cron
alone, set gcInterval to 0.

Exit code 1 if a server could not be swept; the others are.

Examples
  session-pgsql gc --dry-run
  */15 * * * *  session-pgsql gc --quiet --ini /etc/php/8.4/fpm/php.ini

JSON: { "dryRun", "removed", "servers": [{ "server", "removed",
        "ended": "done", "busy" (another process is at it), "interrupted" or
        null, "error": { "code", "message" } or null }] }`,
  flags: {
    'dry-run': { type: 'boolean', about: 'only say how many there are to remove' },
    quiet: { type: 'boolean', about: 'say nothing but failures: cron mails what is said' },
    'keep-expired': { type: 'boolean', about: 'empty expired sessions, and keep the rest of their rows' },
    'keep-expired-for': {
      type: 'string',
      value: 'SECONDS',
      about: 'the same, and remove the rows so long after their expiry',
    },
  },
  positionals: [0, 0],
  patience: 5000,

  async run(context) {
    const { arguments: given, output, servers, settings } = context
    const dryRun = given.has('dry-run')
    const results: Result[] = []
    // One after the other: their progress is one line.
    for (const server of servers) {
      results.push(await (dryRun ? count(server, context) : collect(server, context)))
    }
    const removed = results.reduce((sum, result) => sum + result.removed, 0)
    if (output.isJson) {
      output.json({ dryRun, removed, servers: results })
    } else {
      for (const { server, error } of results) {
        if (error !== null) output.error(`${server}: ${error.message}`, error.code)
      }
      if (!given.has('quiet')) {
        const what = settings.keepExpired ? 'emptied or removed' : 'removed'
        const busy = results.filter(({ ended }) => ended === 'busy')
        output.line(`${plural(removed, 'expired session')} ${dryRun ? 'to be ' : ''}${what}.`)
        for (const { server } of busy) output.line(`${server}: another process is at it; left to that one.`)
        if (results.some(({ ended }) => ended === 'interrupted'))
          output.line('Interrupted: there may be more.')
      }
    }
    return results.some(({ error }) => error !== null) ? 1 : 0
  },
}

interface Result {
  readonly server: string
  readonly removed: number
  readonly ended: 'done' | 'busy' | 'interrupted' | null
  readonly error: Failure | null
}

async function count(server: Server, { settings }: Context): Promise<Result> {
  const result = { server: server.name, removed: 0, ended: null, error: null }
  try {
    return { ...result, removed: (await countDue(server.table, settings)).count }
  } catch (error) {
    return { ...result, error: failureOf(error) }
  }
}

/** Milliseconds. */
const NOTING = 1000

/** For the console. Where it cannot be noted, what was swept is swept all the same. */
async function note({ table }: Server, removed: number, seconds: number): Promise<void> {
  const entry = { id: `command-${createId()}`, kind: 'gc', about: { removed, seconds } }
  await writeEvent(table, entry, 0, performance.now() + NOTING).catch(() => {})
}

async function collect(server: Server, { output, settings, signal }: Context): Promise<Result> {
  let removed = 0
  try {
    // Only for who watches: it looks at all that has expired. And without it there is still a number that goes up.
    const due = output.isWatched ? await countDue(server.table, settings).catch(() => undefined) : undefined
    const { keepExpired, keepExpiredFor, operationTimeout } = settings
    const begun = performance.now()
    const swept = await sweep(server.table, {
      keepExpired,
      keepExpiredFor,
      operationTimeout,
      signal,
      onProgress(soFar) {
        removed = soFar
        output.progress(`${server.name}  ${due ? bar(soFar, due.count) : number(soFar)}`)
      },
    })
    if (swept.removed > 0) await note(server, swept.removed, (performance.now() - begun) / 1000)
    return { server: server.name, ...swept, error: null }
  } catch (error) {
    return { server: server.name, removed, ended: null, error: failureOf(error) }
  } finally {
    output.progress('')
  }
}
