import { setTimeout } from 'node:timers/promises'
import { SessionPgsqlError } from '../../errors.ts'
import type { Server } from '../../servers/server.ts'
import { createId } from '../../session/id.ts'
import { writeEvent } from '../../table/journal.ts'
import { countDue, type Swept, sweep } from '../../table/sweep.ts'
import { sweepBlockers } from '../../table/sweep-blockers.ts'
import type { Command, Context } from '../command.ts'
import { type Failure, failureOf } from '../failure.ts'
import { bar, number, plural } from '../output.ts'

export const gc: Command = {
  name: 'gc',
  usage: '[--dry-run] [--quiet]',
  summary: 'remove expired sessions, for example from cron',
  details: `
Removes the sessions that expired more than expiryGrace seconds ago from every
server of db, in small batches that do not block requests. Several processes
may collect garbage at the same time.

With the setting keepExpired, gc removes only the data of expired sessions. Set
it as in the application: with --keep-expired, in the php.ini of --ini, or with
SESSION_PGSQL_KEEP_EXPIRED. Otherwise gc deletes the sessions.

The save handler does the same every gcInterval seconds. To leave this to cron,
set gcInterval to 0 in the application.

The exit code is 0 if no such session is left, whichever process removed it. It
is 1 if gc failed on a server, or if other transactions keep expired sessions
locked for longer than --timeout; the message names their processes. The other
servers are processed.

Examples:
  session-pgsql gc --dry-run
  */15 * * * *  session-pgsql gc --quiet --ini /etc/php/8.4/fpm/php.ini

JSON output:
  { "dryRun", "removed", "servers": [
    { "server", "removed", "ended", "error" }] }

  ended  "done", "busy" (the rest is locked), "interrupted", or null (dry run or
         error)
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
        output.line(`${plural(removed, 'expired session')} ${dryRun ? 'to be ' : ''}${action}.`)
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

/** Milliseconds before locked rows are tried again. */
const BUSY_DELAY = 100

/** Writes the run to the journal, which the console shows. A failure to do so does not fail the command. */
async function recordRun({ table }: Server, removed: number, seconds: number): Promise<void> {
  const entry = { id: `command-${createId()}`, kind: 'gc', about: { removed, seconds } }
  await writeEvent(table, entry, 0, performance.now() + JOURNAL_TIMEOUT).catch(() => {})
}

async function collect(server: Server, context: Context): Promise<Result> {
  const { output, settings, signal } = context
  let removed = 0
  try {
    // Counting reads all expired rows, so it is done for a progress bar only. If it fails, a plain number is shown.
    const due = output.showsProgress
      ? await countDue(server.table, settings).catch(() => undefined)
      : undefined
    const started = performance.now()
    const ended = await sweepUntilUnlocked(server, context, (soFar) => {
      removed = soFar
      output.progress(`${server.name}  ${due?.count ? bar(soFar, due.count) : number(soFar)}`)
    })
    if (removed > 0) await recordRun(server, removed, (performance.now() - started) / 1000)
    const error = ended === 'busy' ? await lockedFailure(server, context) : null
    return { server: server.name, removed, ended, error }
  } catch (error) {
    const isLocked = error instanceof SessionPgsqlError && error.code === 'TIMEOUT' && !signal.aborted
    const failure = isLocked ? await lockedFailure(server, context, error) : failureOf(error)
    return { server: server.name, removed, ended: null, error: failure }
  } finally {
    output.progress('')
  }
}

/** Sweeps, and tries locked rows again, until none is left or none was removed for the timeout of the command. */
async function sweepUntilUnlocked(
  { table }: Server,
  context: Context,
  onProgress: (removed: number) => void,
): Promise<Swept['ended']> {
  const { settings, signal } = context
  const { keepExpired, keepExpiredFor, expiryGrace, operationTimeout } = settings
  const options = { keepExpired, keepExpiredFor, expiryGrace, operationTimeout, signal }
  let total = 0
  let giveUpAt = context.deadline()
  for (;;) {
    const before = total
    const { removed, ended } = await sweep(table, {
      ...options,
      onProgress: (soFar) => onProgress(before + soFar),
    })
    total += removed
    if (ended !== 'busy') return ended
    if (signal.aborted) return 'interrupted'
    if (removed > 0) giveUpAt = context.deadline()
    if (performance.now() >= giveUpAt) return ended
    await setTimeout(BUSY_DELAY)
  }
}

/**
 * Returns the failure of a sweep that had to wait for other transactions, with what an operator can do about it.
 *
 * @param timeout the error, if the table is locked, or the server is slow for another reason
 */
async function lockedFailure(
  { table }: Server,
  context: Context,
  timeout?: SessionPgsqlError,
): Promise<Failure> {
  const { settings } = context
  const blockers = await sweepBlockers(table, settings, context.deadline()).catch(() => [])
  if (timeout !== undefined && blockers.length === 0) return failureOf(timeout)
  const by = blockers.length === 0 ? 'another transaction' : blockers.join('; ')
  return {
    code: 'TIMEOUT',
    message:
      `Expired sessions could not be removed within ${settings.operationTimeout} s, because they are locked by ${by}. ` +
      'End that transaction, or run the command again.',
  }
}
