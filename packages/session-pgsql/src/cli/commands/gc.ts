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
  summary: 'remove expired sessions, for example from cron',
  details: `
Removes the sessions that expired more than a minute ago from every server of
db, in small batches that do not block requests. If another process is
collecting garbage on a server, gc skips that server; this is not an error.

With the setting keepExpired, gc removes only the data of expired sessions. Set
it as in the application: with --keep-expired, in the php.ini of --ini, or with
SESSION_PGSQL_KEEP_EXPIRED. Otherwise gc deletes the sessions.

The save handler does the same every gcInterval seconds. To leave this to cron,
set gcInterval to 0 in the application.

The exit code is 1 if gc failed on a server; the other servers are processed.

Examples:
  session-pgsql gc --dry-run
  */15 * * * *  session-pgsql gc --quiet --ini /etc/php/8.4/fpm/php.ini

JSON output:
  { "dryRun", "removed", "servers": [
    { "server", "removed", "ended", "error" }] }

  ended  "done", "busy" (another process is collecting garbage), "interrupted",
         or null (dry run or error)
  error  { "code", "message" } or null`,
  options: {
    'dry-run': { type: 'boolean', description: 'count the sessions to remove, and change nothing' },
    quiet: { type: 'boolean', description: 'print errors only, because cron mails any output' },
    'keep-expired': {
      type: 'boolean',
      description: 'keep the rows of expired sessions, and remove only their data',
    },
    'keep-expired-for': {
      type: 'string',
      placeholder: 'SECONDS',
      description: 'like --keep-expired, but remove a row this long after its expiry',
    },
  },
  positionals: [0, 0],
  gracePeriod: 5000,

  async run(context) {
    const { arguments: args, output, servers, settings } = context
    const dryRun = args.has('dry-run')
    const results: Result[] = []
    // One server at a time, because there is one progress line.
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
      if (!args.has('quiet')) {
        const action = settings.keepExpired ? 'emptied or removed' : 'removed'
        const busy = results.filter(({ ended }) => ended === 'busy')
        output.line(`${plural(removed, 'expired session')} ${dryRun ? 'to be ' : ''}${action}.`)
        for (const { server } of busy)
          output.line(`${server}: skipped, because another process is collecting garbage.`)
        if (results.some(({ ended }) => ended === 'interrupted'))
          output.line('Interrupted. Run gc again to remove the rest.')
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
const JOURNAL_TIMEOUT = 1000

/** Writes the run to the journal, which the console shows. A failure to do so does not fail the command. */
async function recordRun({ table }: Server, removed: number, seconds: number): Promise<void> {
  const entry = { id: `command-${createId()}`, kind: 'gc', about: { removed, seconds } }
  await writeEvent(table, entry, 0, performance.now() + JOURNAL_TIMEOUT).catch(() => {})
}

async function collect(server: Server, { output, settings, signal }: Context): Promise<Result> {
  let removed = 0
  try {
    // Counting reads all expired rows, so it is done for a progress bar only. If it fails, a plain number is shown.
    const due = output.showsProgress
      ? await countDue(server.table, settings).catch(() => undefined)
      : undefined
    const { keepExpired, keepExpiredFor, expiryGrace, operationTimeout } = settings
    const started = performance.now()
    const swept = await sweep(server.table, {
      keepExpired,
      keepExpiredFor,
      expiryGrace,
      operationTimeout,
      signal,
      onProgress(soFar) {
        removed = soFar
        output.progress(`${server.name}  ${due?.count ? bar(soFar, due.count) : number(soFar)}`)
      },
    })
    if (swept.removed > 0) await recordRun(server, swept.removed, (performance.now() - started) / 1000)
    return { server: server.name, ...swept, error: null }
  } catch (error) {
    return { server: server.name, removed, ended: null, error: failureOf(error) }
  } finally {
    output.progress('')
  }
}
