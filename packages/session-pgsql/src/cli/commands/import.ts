import { codecNamed } from '../../codec/codecs.ts'
import { SessionPgsqlError } from '../../errors.ts'
import type { Server } from '../../servers/server.ts'
import { hashedId, isHashedId, storedForm } from '../../session/stored-id.ts'
import {
  beginRun,
  type ImportedSession,
  importSessions,
  missedIds,
  type Run,
  recordSeen,
  removeMissed,
} from '../../table/importing.ts'
import type { Command, Context } from '../command.ts'
import { type ParsedSession, parseSession } from '../import/express-session.ts'
import { isPhp, openSource, STORES } from '../import/open-source.ts'
import { parsePhpSession } from '../import/php-session.ts'
import type { Source, SourceSession } from '../import/source.ts'
import { bar, number, plural } from '../output.ts'
import { homeOf, type PlacedServer, placedServers } from '../placement.ts'

/** Sessions between two progress lines, without a terminal. */
const PROGRESS_INTERVAL = 10_000

/** Ids that one statement reads to find the sessions that ended in the source. */
const PAGE = 500

export const importCommand: Command = {
  name: 'import',
  usage: '--from STORE [OPTION]...',
  summary: 'import the live sessions of another session store',
  details: `
STORE is one of ${STORES.slice(0, 3).join(', ')},
${STORES.slice(3).join(', ')}.

A session keeps its id, its data, its remaining lifetime and the attributes of
its cookie. Users stay logged in if the new site has the same secret and cookie
name. The import only reads the old store, and the old site can keep running:

  1. Run the import while the old site is running.
  2. Replace the old site with the new site.
  3. When the old site has stopped, run the import again.

You can interrupt the import and run it again. A session that was used or
destroyed here since its import does not change. A session that has changed or
ended on the old site since is changed or removed here. A table with the name of
the session table and the suffix _import records the imported ids; drop it when
you have finished. The session table is created if it does not exist.

connect-pg-simple stores dates without a time zone. They are read in the time
zone of the server. If the old site used another one, set it with --zone.
connect-redis and phpredis need the package redis or ioredis in the current
directory. For a Redis cluster, run the import once for each primary.

php-files reads the folder of PHP's handler files. A session expires
session.gc_maxlifetime seconds after its last use; set it with --ini. phpredis
also takes PHP's save path as --source. Sessions are read in the format php, or
in the one that SESSION_PGSQL_CODEC or --ini names.

jsonl reads a file with an object in each line, for stores on other databases:
  {"id": "…", "data": {…}, "expires": "2030-01-31T12:00:00Z", "custom": "42"}
expires may be seconds since 1970; it and custom may be absent. The file is a
snapshot: write it to the same path for a second run, and a session that it
lacks then has ended.

The exit code is 1 if sessions could not be read; the others are imported.

Examples:
  session-pgsql import --from connect-pg-simple --db postgresql://web@db1/app
  session-pgsql import --from connect-redis --source redis://cache:6379 \\
    --field-from passport.user
  session-pgsql import --from php-files --source /var/lib/php/sessions \\
    --ini /etc/php/8.4/fpm/php.ini

JSON output:
  { "from", "dryRun", "moved", "renewed", "removed", "already", "expired",
    "unreadable", "misdated", "ended" }

  moved       sessions imported for the first time
  renewed     sessions that changed in the old store since, updated here
  removed     sessions that ended in the old store since, removed here
  already     sessions imported before, not changed
  expired     expired sessions, skipped
  unreadable  sessions that could not be read, skipped
  misdated    sessions whose expiry contradicts their cookie
  ended       "done" or "interrupted"`,
  options: {
    from: { type: 'string', placeholder: 'STORE', description: STORES.join(', ') },
    source: {
      type: 'string',
      placeholder: 'DATABASE',
      description:
        'database, file or folder of the old store (default: the database of --db; for Redis REDIS_URL, then redis://localhost:6379)',
    },
    'source-table': {
      type: 'string',
      placeholder: 'NAME',
      description: 'table of the old store (default: session; connect-session-knex: sessions)',
    },
    prefix: {
      type: 'string',
      placeholder: 'TEXT',
      description: 'key prefix in Redis (default: sess:; phpredis: PHPREDIS_SESSION:)',
    },
    zone: {
      type: 'string',
      placeholder: 'ZONE',
      description: "time zone of dates without a time zone (default: the server's)",
    },
    name: {
      type: 'string',
      placeholder: 'NAME',
      description: 'cookie name, as in session({ name }) (default: connect.sid; PHP: PHPSESSID)',
    },
    'field-from': {
      type: 'string',
      placeholder: 'PATH',
      description: 'path in the data of the value for the custom field, for example passport.user',
    },
    'dry-run': { type: 'boolean', description: 'count the sessions to import, and change nothing' },
  },
  positionals: [0, 0],
  gracePeriod: 5000,
  createsTable: true,

  async run(context) {
    const { arguments: args, output } = context
    const source = await openSource(context)
    const dryRun = args.has('dry-run')
    let counts: Counts
    try {
      counts = await (dryRun ? new DryRun(source, context) : new Import(source, context)).run()
    } finally {
      output.progress('')
      await source.close()
    }
    if (output.isJson) output.json({ from: args.text('from'), dryRun, ...counts })
    else report(counts, dryRun, context)
    return counts.unreadable > 0 ? 1 : 0
  },
}

interface Counts {
  /** Imported for the first time; with --dry-run, live and readable. */
  moved: number
  /** Changed in the source since an earlier import, and updated here. */
  renewed: number
  /** Ended in the source since an earlier import, and removed here. */
  removed: number
  /** Imported before, and not changed now. */
  already: number
  expired: number
  unreadable: number
  /** Sessions whose expiry contradicts their cookie. */
  misdated: number
  ended: 'done' | 'interrupted'
}

/** Reads the source and counts its sessions. */
class DryRun {
  protected readonly source: Source
  protected readonly context: Context
  protected readonly counts: Counts = {
    moved: 0,
    renewed: 0,
    removed: 0,
    already: 0,
    expired: 0,
    unreadable: 0,
    misdated: 0,
    ended: 'done',
  }
  readonly #parse: (session: SourceSession) => ParsedSession | undefined
  /** Sessions read so far. */
  protected read = 0

  constructor(source: Source, context: Context) {
    const { arguments: args, settings } = context
    this.source = source
    this.context = context
    const field = args.text('field-from')?.split('.') ?? []
    const { codec, idPattern } = settings
    if (isPhp(args.text('from'))) {
      const format = codecNamed<Record<string, unknown>>(String(codec).startsWith('php') ? codec : 'php')
      this.#parse = (session) => parsePhpSession(session, { field }, format)
    } else {
      const options = { codec: codecNamed<Record<string, unknown>>(codec), idPattern, field }
      this.#parse = (session) => parseSession(session, options)
    }
  }

  async run(): Promise<Counts> {
    const { output, signal } = this.context
    // Counting reads every row, so it is done for a progress bar only. If it fails, a plain number is shown.
    const total = output.showsProgress ? await this.source.count() : undefined
    for await (const batch of this.source.batches()) {
      await this.#processBatch(batch)
      if (output.showsProgress) output.progress(total ? bar(this.read, total) : number(this.read))
      if (signal.aborted) {
        this.counts.ended = 'interrupted'
        break
      }
    }
    return this.counts
  }

  async #processBatch(batch: readonly SourceSession[]): Promise<void> {
    const { counts } = this
    const arriving: ImportedSession[] = []
    const unreadable: string[] = []
    const now = performance.now()
    for (const one of batch) {
      if (one.expires !== undefined && one.expires <= now) {
        counts.expired++
        continue
      }
      const parsed = this.#parse(one)
      if (parsed === undefined) {
        unreadable.push(one.id)
        continue
      }
      if (parsed.misdated) counts.misdated++
      arriving.push(parsed.session)
    }
    counts.unreadable += unreadable.length
    await this.store(arriving, unreadable)
    const { output } = this.context
    const before = Math.floor(this.read / PROGRESS_INTERVAL)
    this.read += batch.length
    if (!output.showsProgress && !output.isJson && Math.floor(this.read / PROGRESS_INTERVAL) > before) {
      output.line(`${plural(this.read, 'session')} read...`)
    }
  }

  protected async store(arriving: readonly ImportedSession[], _unreadable: readonly string[]): Promise<void> {
    this.counts.moved += arriving.length
  }
}

/** Reads the source and imports its sessions. */
class Import extends DryRun {
  readonly #runs = new Map<Server, Run>()
  readonly #placed: readonly PlacedServer[]

  constructor(source: Source, context: Context) {
    super(source, context)
    this.#placed = placedServers(context)
  }

  override async run(): Promise<Counts> {
    const { arguments: args, servers } = this.context
    const name = args.text('name') ?? (isPhp(args.text('from')) ? 'PHPSESSID' : 'connect.sid')
    await Promise.all(
      servers.map(async (server) => {
        const number = await beginRun(server.table, this.context.deadline())
        this.#runs.set(server, { source: this.source.name, number, name })
      }),
    )
    const counts = await super.run()
    // An empty source does not mean that all its sessions ended: the old store may have been emptied.
    if (counts.ended === 'done' && this.read > 0) {
      for (const server of servers) await this.#removeEnded(server)
    }
    return counts
  }

  protected override async store(
    arriving: readonly ImportedSession[],
    unreadable: readonly string[],
  ): Promise<void> {
    await Promise.all([
      ...this.#byHome(arriving, ({ id }) => id).map(([server, some]) => this.#storeOn(server, some)),
      ...this.#byHome(unreadable, (id) => id).map(([server, ids]) =>
        recordSeen(server.table, ids, this.#runOn(server), this.context.deadline()),
      ),
    ])
  }

  async #storeOn(server: Server, arriving: readonly ImportedSession[]): Promise<void> {
    const { counts } = this
    try {
      const { moved, renewed } = await importSessions(
        server.table,
        arriving,
        this.#runOn(server),
        this.context.deadline(),
      )
      counts.moved += moved
      counts.renewed += renewed
      counts.already += arriving.length - moved - renewed
    } catch (error) {
      if (!isDataError(error)) throw error
      if (arriving.length === 1) {
        counts.unreadable++
        return
      }
      // At least one session cannot be stored, for example in this database's encoding. Halving finds it.
      const middle = Math.ceil(arriving.length / 2)
      await this.#storeOn(server, arriving.slice(0, middle))
      await this.#storeOn(server, arriving.slice(middle))
    }
  }

  /** Removes the imported sessions that have ended in the source since. */
  async #removeEnded(server: Server): Promise<void> {
    const run = this.#runOn(server)
    // The source cannot be asked for hashed ids.
    const hashed = new Set<string>()
    let after = ''
    for (;;) {
      const ids = await missedIds(server.table, run, after, PAGE, this.context.deadline())
      const last = ids.at(-1)
      if (this.context.signal.aborted) return
      if (last === undefined) break
      after = last
      for (const id of ids.filter(isHashedId)) hashed.add(id)
      const plain = ids.filter((id) => !isHashedId(id))
      const live = await this.source.findLive(plain)
      await this.#removeFrom(
        server,
        plain.filter((id) => !live.has(id)),
      )
    }
    if (hashed.size === 0) return
    for await (const batch of this.source.batches()) {
      if (this.context.signal.aborted) return
      const now = performance.now()
      for (const { id, expires } of batch)
        if (expires === undefined || expires > now) hashed.delete(hashedId(id))
    }
    const ended = [...hashed]
    for (let start = 0; start < ended.length; start += PAGE) {
      await this.#removeFrom(server, ended.slice(start, start + PAGE))
    }
  }

  async #removeFrom(server: Server, ids: readonly string[]): Promise<void> {
    this.counts.removed += await removeMissed(server.table, ids, this.#runOn(server), this.context.deadline())
  }

  #runOn(server: Server): Run {
    return this.#runs.get(server) as Run
  }

  #byHome<T>(items: readonly T[], idOf: (item: T) => string): [Server, T[]][] {
    const homes = new Map<Server, T[]>()
    for (const item of items) {
      const { failoverMode, ids } = this.context.settings
      const home = homeOf(storedForm(idOf(item), ids), this.#placed, failoverMode)
      const group = homes.get(home)
      if (group === undefined) homes.set(home, [item])
      else group.push(item)
    }
    return [...homes]
  }
}

/** Whether PostgreSQL refused the data (SQLSTATE class 22), and not the statement. */
function isDataError(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.sqlState?.startsWith('22') === true
}

function report(counts: Counts, dryRun: boolean, { output }: Context): void {
  const { moved, renewed, removed, already, expired, unreadable, misdated, ended } = counts
  output.line(`${plural(moved, 'session')} ${dryRun ? 'to be imported' : 'imported'}.`)
  if (already > 0) output.line(`${number(already)} imported before: not changed.`)
  if (renewed > 0)
    output.line(`${number(renewed)} imported before and changed in the old store since: updated.`)
  if (removed > 0)
    output.line(`${number(removed)} imported before and ended in the old store since: removed.`)
  if (expired > 0) output.line(`${number(expired)} expired: skipped.`)
  if (unreadable > 0)
    output.line(`${number(unreadable)} unreadable: skipped. Their users have to log in again.`)
  if (misdated > 0) {
    output.line(
      `${number(misdated)} with an expiry that contradicts the cookie. If the old site used another time zone, set it with --zone and run the import again.`,
    )
  }
  if (ended === 'interrupted') output.line('Interrupted. Run the import again to continue.')
}
