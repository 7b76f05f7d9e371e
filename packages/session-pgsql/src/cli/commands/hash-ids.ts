import { countPlainIds, hashIds } from '../../table/hash-ids.ts'
import { UsageError } from '../arguments.ts'
import type { Command } from '../command.ts'
import { bar, number, plural } from '../output.ts'

export const hashIdsCommand: Command = {
  name: 'hash-ids',
  usage: '',
  summary: 'store hashed ids instead of plain ids in the session table',
  details: `
Replaces the ids in the session table, in the table of locks and in that of an
import by their hashes. Users stay logged in. Applications keep running, but all
of them must run with the setting ids "migrate" by then:

  1. Run this version of session-pgsql everywhere, with ids "plain" (default).
  2. Set ids to "migrate" everywhere.
  3. Run this command.
  4. Set ids to "hashed" everywhere. Run this command again: it finds nothing, or
     locks of the last minutes.

You can interrupt the command and run it again. Backups made before still contain
ids that are valid until their sessions end. The exit code is 1 if rows are left
because other transactions have locked them.

With several entries in db the command is not available.

Examples:
  session-pgsql hash-ids --db postgresql://web@db1/app

JSON output:
  { "sessions", "duplicates", "locks", "imports", "left", "ended" }

  sessions    rows whose ids were hashed
  duplicates  rows removed, because their session also had a row with its hash
  locks       session locks whose ids were hashed
  imports     entries of an import whose ids were hashed
  left        rows with plain ids that are left
  ended       "done" or "interrupted"`,
  options: {},
  positionals: [0, 0],
  gracePeriod: 5000,

  async run(context) {
    const { output, servers, signal } = context
    const [server, more] = servers
    if (server === undefined || more !== undefined) {
      throw new UsageError('expected one entry in db; with several, ids cannot be moved to the hashed form')
    }
    const { table } = server
    // Counting reads the whole table, so it is done for a progress bar only. A large one takes too long.
    const total = output.showsProgress ? await countPlainIds(table, context.deadline()).catch(() => 0) : 0
    const done = await hashIds(table, {
      deadline: () => context.deadline(),
      signal,
      onProgress: ({ sessions, duplicates }) =>
        output.progress(total > 0 ? bar(sessions + duplicates, total) : number(sessions)),
    })
    output.progress('')
    const ended = signal.aborted ? 'interrupted' : 'done'
    if (output.isJson) output.json({ ...done, ended })
    else {
      const { sessions, duplicates, locks, imports, left } = done
      output.line(`${plural(sessions, 'id')} hashed.`)
      if (duplicates > 0) output.line(`${number(duplicates)} removed: their sessions have a hashed row.`)
      if (locks > 0) output.line(`${plural(locks, 'lock')} hashed.`)
      if (imports > 0) output.line(`${number(imports)} of an import hashed.`)
      if (left > 0) output.line(`${number(left)} left, locked by other transactions. Run the command again.`)
      if (ended === 'interrupted') output.line('Interrupted. Run the command again to continue.')
    }
    return done.left > 0 ? 1 : 0
  },
}
