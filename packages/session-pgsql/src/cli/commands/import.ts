import { codecNamed } from '../../codec/codecs.ts'
import { SessionPgsqlError } from '../../errors.ts'
import { rank } from '../../servers/placement.ts'
import type { Server } from '../../servers/server.ts'
import { weightOf } from '../../servers/servers.ts'
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
import { type Reading, readSession } from '../import/express-session.ts'
import { openSource, STORES } from '../import/open-source.ts'
import type { Source, SourceSession } from '../import/source.ts'
import { bar, number, plural } from '../output.ts'

/** Without a terminal: a line after so many sessions. */
const MILESTONE = 10_000

/** Ids that are asked for at a time at the end. */
const PAGE = 500

export const importCommand: Command = {
  name: 'import',
  usage: `--from STORE [--source DATABASE] …`,
  summary: 'moves the live sessions of another store, while its site still runs',
  details: `
STORE is one of ${STORES.join(', ')}.
Every visitor stays signed in, by the same cookie (keep secret and name): a
session keeps its id, its data, what is left of its life, and its cookie's
attributes. Nothing is written to the old store.

  1. session-pgsql import …      while the old site runs; it may take its time
  2. put the new site in its place
  3. session-pgsql import …      once more, when the old site has ended

It may be interrupted, and run as often as you like: what was used here since it
came is left alone, what was destroyed here does not come back, what the old
site has changed or ended since is changed or ended here. A table beside the
session table, with _import at the end of its name, remembers what has come;
drop it when you are done. Creates the session table where it is missing.

connect-pg-simple writes dates without a time zone. They are taken for the
server's; if the old site set another for its connections, say so by --zone.
connect-redis is read through the package redis or ioredis of the folder in
which the command runs; of a cluster, each primary by a run of its own.

Exit code 1 if sessions could not be read; the others are moved.

Examples
  session-pgsql import --from connect-pg-simple --db postgresql://web@db1/app
  session-pgsql import --from connect-redis --source redis://cache:6379 \\
    --field-from passport.user

JSON: { "from", "dryRun", "moved", "renewed", "removed", "already", "expired",
        "unreadable", "misdated", "ended": "done" or "interrupted" }`,
  flags: {
    from: { type: 'string', value: 'STORE', about: STORES.join(', ') },
    source: {
      type: 'string',
      value: 'DATABASE',
      about: "where the old store lies (the database of --db; Redis: REDIS_URL, else this machine's)",
    },
    'source-table': {
      type: 'string',
      value: 'NAME',
      about: 'its table (session; connect-session-knex: sessions)',
    },
    prefix: { type: 'string', value: 'TEXT', about: "of connect-redis' keys (sess:)" },
    zone: { type: 'string', value: 'ZONE', about: "time zone of dates without one (the server's)" },
    name: { type: 'string', value: 'NAME', about: "the cookie's, as in session({ name }) (connect.sid)" },
    'field-from': {
      type: 'string',
      value: 'PATH',
      about: "what of the data becomes the custom field, such as the user's id: passport.user",
    },
    'dry-run': { type: 'boolean', about: 'only say how many there are to move' },
  },
  positionals: [0, 0],
  patience: 5000,
  createsTable: true,

  async run(context) {
    const { arguments: given, output } = context
    const source = await openSource(context)
    const dryRun = given.has('dry-run')
    let counts: Counts
    try {
      counts = await (dryRun ? new Looking(source, context) : new Moving(source, context)).run()
    } finally {
      output.progress('')
      await source.close()
    }
    if (output.isJson) output.json({ from: given.text('from'), dryRun, ...counts })
    else report(counts, dryRun, context)
    return counts.unreadable > 0 ? 1 : 0
  },
}

interface Counts {
  /** Here for the first time; with --dry-run: alive and readable. */
  moved: number
  renewed: number
  /** Ended in the source since they came. */
  removed: number
  /** Nothing was to be done, or nothing was allowed to be. */
  already: number
  expired: number
  unreadable: number
  misdated: number
  ended: 'done' | 'interrupted'
}

/** Goes through the source and counts. */
class Looking {
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
  readonly #reading: Reading
  protected seen = 0

  constructor(source: Source, context: Context) {
    const { arguments: given, settings } = context
    this.source = source
    this.context = context
    this.#reading = {
      codec: codecNamed(settings.codec),
      idPattern: settings.idPattern,
      field: given.text('field-from')?.split('.') ?? [],
    }
  }

  async run(): Promise<Counts> {
    const { output, signal } = this.context
    // Only for who watches: it looks at every row. And without it there is still a number that goes up.
    const total = output.isWatched ? await this.source.count() : undefined
    for await (const part of this.source.parts()) {
      await this.#part(part)
      if (output.isWatched) output.progress(total ? bar(this.seen, total) : number(this.seen))
      if (signal.aborted) {
        this.counts.ended = 'interrupted'
        break
      }
    }
    return this.counts
  }

  async #part(part: readonly SourceSession[]): Promise<void> {
    const { counts } = this
    const arriving: ImportedSession[] = []
    const unreadable: string[] = []
    const now = performance.now()
    for (const one of part) {
      if (one.expires !== undefined && one.expires <= now) {
        counts.expired++
        continue
      }
      const read = readSession(one, this.#reading)
      if (read === undefined) {
        unreadable.push(one.id)
        continue
      }
      if (read.misdated) counts.misdated++
      arriving.push(read.session)
    }
    counts.unreadable += unreadable.length
    await this.take(arriving, unreadable)
    const { output } = this.context
    const before = Math.floor(this.seen / MILESTONE)
    this.seen += part.length
    if (!output.isWatched && !output.isJson && Math.floor(this.seen / MILESTONE) > before) {
      output.line(`${plural(this.seen, 'session')} looked at ...`)
    }
  }

  protected async take(arriving: readonly ImportedSession[], _unreadable: readonly string[]): Promise<void> {
    this.counts.moved += arriving.length
  }
}

/** Goes through the source and moves what is there. */
class Moving extends Looking {
  readonly #runs = new Map<Server, Run>()

  override async run(): Promise<Counts> {
    const { arguments: given, servers } = this.context
    const name = given.text('name') ?? 'connect.sid'
    await Promise.all(
      servers.map(async (server) => {
        const number = await beginRun(server.table, this.context.deadline())
        this.#runs.set(server, { source: this.source.name, number, name })
      }),
    )
    const counts = await super.run()
    // An empty source has not ended every session of its site: it has been put away.
    if (counts.ended === 'done' && this.seen > 0) {
      for (const server of servers) await this.#removeEnded(server)
    }
    return counts
  }

  protected override async take(
    arriving: readonly ImportedSession[],
    unreadable: readonly string[],
  ): Promise<void> {
    await Promise.all([
      ...this.#byHome(arriving, ({ id }) => id).map(([server, some]) => this.#store(server, some)),
      ...this.#byHome(unreadable, (id) => id).map(([server, ids]) =>
        recordSeen(server.table, ids, this.#runOn(server), this.context.deadline()),
      ),
    ])
  }

  async #store(server: Server, arriving: readonly ImportedSession[]): Promise<void> {
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
      if (!isAboutData(error)) throw error
      if (arriving.length === 1) {
        counts.unreadable++
        return
      }
      // One of them cannot be stored, in this database's encoding for instance.
      const middle = Math.ceil(arriving.length / 2)
      await this.#store(server, arriving.slice(0, middle))
      await this.#store(server, arriving.slice(middle))
    }
  }

  /** What has come before and is no longer in the source: signed out there, and so here. */
  async #removeEnded(server: Server): Promise<void> {
    const run = this.#runOn(server)
    let after = ''
    for (;;) {
      const ids = await missedIds(server.table, run, after, PAGE, this.context.deadline())
      const last = ids.at(-1)
      if (last === undefined || this.context.signal.aborted) return
      after = last
      const alive = await this.source.alive(ids)
      const ended = ids.filter((id) => !alive.has(id))
      this.counts.removed += await removeMissed(server.table, ended, run, this.context.deadline())
    }
  }

  #runOn(server: Server): Run {
    return this.#runs.get(server) as Run
  }

  #byHome<T>(items: readonly T[], idOf: (item: T) => string): [Server, T[]][] {
    const homes = new Map<Server, T[]>()
    for (const item of items) {
      const home = homeOf(idOf(item), this.context)
      const some = homes.get(home)
      if (some === undefined) homes.set(home, [item])
      else some.push(item)
    }
    return [...homes]
  }
}

function homeOf(id: string, { servers, settings }: Context): Server {
  if (servers.length === 1 || settings.failoverMode) return servers[0] as Server
  const placed = servers.map((server, index) => {
    const entry = settings.db[index]
    return { name: server.name, weight: entry === undefined ? 1 : weightOf(entry), server }
  })
  return (rank(id, placed)[0] as (typeof placed)[number]).server
}

/** PostgreSQL's class 22: it is the data that cannot be stored. */
function isAboutData(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.sqlState?.startsWith('22') === true
}

function report(counts: Counts, dryRun: boolean, { output }: Context): void {
  const { moved, renewed, removed, already, expired, unreadable, misdated, ended } = counts
  output.line(`${plural(moved, 'session')} ${dryRun ? 'to be moved' : 'moved'}.`)
  if (already > 0)
    output.line(`${number(already)} here already: moved before, and perhaps used or destroyed here since.`)
  if (renewed > 0) output.line(`${number(renewed)} moved before and changed there since: renewed.`)
  if (removed > 0) output.line(`${number(removed)} moved before and ended there since: removed.`)
  if (expired > 0) output.line(`${number(expired)} expired: left there.`)
  if (unreadable > 0)
    output.line(`${number(unreadable)} unreadable: left there. Their visitors will have to sign in.`)
  if (misdated > 0) {
    output.line(
      `${number(misdated)} expire at another time than their cookies say: were they written under another time zone? See --zone, and run it again.`,
    )
  }
  if (ended === 'interrupted') output.line('Interrupted: there may be more. Run it again.')
}
