import { SessionPgsqlError } from '../errors.ts'
import type { DatabaseEntry } from '../settings/settings.ts'
import type { StoredSessions } from '../table/stored-sessions.ts'
import { Failback } from './failback.ts'
import type { Promotion } from './group.ts'
import { Health, isUnreachable } from './health.ts'
import type { Member, Ranking } from './member.ts'
import { rank } from './placement.ts'
import { Server, type ServerSettings, type ServerStatus } from './server.ts'
import { SessionRouter } from './session-router.ts'
import type { FailbackOutcome, MergeTexts } from './settle.ts'
import type { ColumnFunctions } from './settled-columns.ts'
import { ShardedSessions } from './sharded-sessions.ts'

export interface ServersSettings extends ServerSettings {
  readonly failoverMode: boolean
  readonly whenHomeIsDown: 'absent' | 'error'
  readonly gcMaxlifetime: number
}

/** Receives what happens to the servers. */
export interface ServersListener {
  /** The save handler, for diagnostics. */
  readonly handler: object
  onDown(server: string, error: Error): void
  onUp(server: string): void
  /** A request was served by a fallback server, because its home server is down. */
  onFailover(event: { from: string; to: string }): void
  /** Another host has become the primary of a replicated group. */
  onPromotion(event: { server: string } & Promotion): void
  onFailback(event: { id: string; from: string; to: string; outcome: FailbackOutcome }): void
  /** This process has begun to look for plain and hashed ids. Called at least once; may be called again. */
  onBothForms(): void
  /** A session has ended on this server that could not be announced. */
  onUnannounced(server: Server): void
  onError(error: Error): void
  merge: MergeTexts
  readonly columns: ColumnFunctions
}

export interface ServerAnswer<T> {
  readonly name: string
  readonly answer: T | undefined
  readonly error: SessionPgsqlError | undefined
}

/** Returns the share of the ids of which each server is the home server, from 0 to 1. */
export function sharesOf({
  db,
  failoverMode,
}: {
  readonly db: readonly DatabaseEntry[]
  readonly failoverMode: boolean
}): Map<string, number> {
  const sum = db.reduce((total, entry) => total + weightOf(entry), 0)
  return new Map(
    db.map((entry, index) => [
      entry.name,
      failoverMode || db.length === 1 ? Number(index === 0) : weightOf(entry) / sum,
    ]),
  )
}

export function weightOf(entry: DatabaseEntry): number {
  return entry.kind === 'conninfo' ? entry.conninfo.weight : 1
}

/** The servers of `db`: one, or several among which the sessions are sharded. */
export class Servers {
  readonly all: readonly Server[]
  /** The sessions of the only server, or those of all servers, among which they are sharded. */
  readonly sessions: StoredSessions
  readonly #shares: ReadonlyMap<string, number>
  /** Set only with several servers. */
  readonly #sharding:
    | { readonly members: readonly Member[]; readonly router: SessionRouter; readonly failback: Failback }
    | undefined

  /** @param entries at least one */
  constructor(entries: readonly DatabaseEntry[], settings: ServersSettings, listener: ServersListener) {
    this.all = entries.map((entry) => {
      const server: Server = new Server(
        entry,
        settings,
        listener.handler,
        (promotion) => listener.onPromotion({ server: entry.name, ...promotion }),
        () => listener.onBothForms(),
        () => listener.onUnannounced(server),
      )
      return server
    })
    this.#shares = sharesOf(settings)
    const [first] = this.all
    if (this.all.length === 1) {
      this.sessions = (first as Server).sessions
      return
    }
    if (entries.every((entry) => weightOf(entry) === 0)) {
      throw new SessionPgsqlError(
        'INVALID_OPTION',
        'option db: every entry has weight=0, so no server can take sessions. Set another weight for at least one entry.',
      )
    }
    const members = entries.map((entry, index): Member => {
      const server = this.all[index] as Server
      const { name } = server
      return {
        name,
        weight: weightOf(entry),
        server,
        health: new Health((deadline) => server.ping(deadline), {
          onDown(error) {
            failback.pending.observe(members)
            listener.onDown(name, error)
          },
          onUp() {
            failback.pending.observe(members)
            listener.onUp(name)
            void failback.scan()
          },
          onInterrupted: () => failback.pending.suspect(members[index] as Member, members, false),
        }),
        waiting: 0,
        failbacks: { brought: 0, merged: 0, dropped: 0 },
      }
    })
    const { failoverMode, whenHomeIsDown, operationTimeout, gcMaxlifetime, expiryGrace } = settings
    const ranked = (id: string): Ranking => (failoverMode ? members : rank(id, members)) as unknown as Ranking
    const { columns, merge, onFailback, onError, onFailover } = listener
    const failback = new Failback({
      ...{ members, ranked, merge, columns, operationTimeout, onFailback, onError },
    })
    const router = new SessionRouter({ ranked, whenHomeIsDown, failback, onFailover })
    this.sessions = new ShardedSessions(router, { columns, merge, gcMaxlifetime, expiryGrace })
    this.#sharding = { members, router, failback }
  }

  /** Runs work on the home server of an id, or on its fallback server. */
  ask<T>(id: string, deadline: number, work: (server: Server) => Promise<T>): Promise<T> {
    if (this.#sharding === undefined) return work(this.all[0] as Server)
    return this.#sharding.router.ask(id, deadline, ({ health, server }) => health.run(() => work(server)))
  }

  /** Resolves when this process knows what other processes have left to do. Never rejects. */
  async learn(): Promise<void> {
    await this.#sharding?.failback.learn()
  }

  /**
   * Runs work on every server that is up.
   *
   * @returns the answers, and the names of the servers that could not be reached
   * @throws the first server's error, if none could be reached; any other error
   */
  async everywhere<T>(work: (server: Server) => Promise<T>): Promise<{ answers: T[]; missing: string[] }> {
    if (this.#sharding === undefined) return { answers: [await work(this.all[0] as Server)], missing: [] }
    const { members } = this.#sharding
    const asked = await Promise.allSettled(
      members.map(({ health, server }) => health.run(() => work(server))),
    )
    const answers = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = asked.find((one) => one.status === 'rejected')
    for (const one of asked) if (one.status === 'rejected' && !isUnreachable(one.reason)) throw one.reason
    if (answers.length === 0) throw failed?.reason
    return {
      answers,
      missing: members.filter((_, index) => asked[index]?.status === 'rejected').map(({ name }) => name),
    }
  }

  /** Returns the server of this name. @param name as in `status()` */
  named(name: string): Server {
    return this.all.find((server) => server.name === name) as Server
  }

  /** Runs work on every server. A server that fails has an `error` instead of an `answer`. */
  each<T>(work: (server: Server) => Promise<T>): Promise<ServerAnswer<T>[]> {
    return Promise.all(
      this.all.map(async (server, index) => {
        const health = this.#sharding?.members[index]?.health
        try {
          const answer = await (health === undefined ? work(server) : health.run(() => work(server)))
          return { name: server.name, answer, error: undefined }
        } catch (error) {
          if (!(error instanceof SessionPgsqlError)) throw error
          return { name: server.name, answer: undefined, error }
        }
      }),
    )
  }

  /** Resolves when embedded databases have started, before the timeout of an operation begins; usually undefined. */
  get starting(): Promise<unknown> | undefined {
    // Read by every operation: usually nothing is allocated.
    const starting = this.all.some((server) => server.starting !== undefined)
    return starting ? Promise.all(this.all.map((server) => server.starting)) : undefined
  }

  status(): ServerStatus[] {
    if (this.#sharding === undefined) return this.all.map((server) => ({ ...server.status(), share: 1 }))
    return this.#sharding.members.map(({ server, health, waiting, failbacks }) => ({
      ...server.status(),
      ...(health.isDown ? { health: 'down' as const } : {}),
      share: this.#shares.get(server.name) ?? 0,
      homecoming: { waiting, ...failbacks },
    }))
  }

  async reset(): Promise<void> {
    await Promise.all(this.all.map((server) => server.reset()))
    await Promise.all(this.#sharding?.members.map(({ health }) => health.check()) ?? [])
  }

  async close(): Promise<void> {
    if (this.#sharding !== undefined) {
      for (const { health } of this.#sharding.members) health.close()
      await this.#sharding.failback.close()
    }
    await Promise.all(this.all.map((server) => server.close()))
  }
}
