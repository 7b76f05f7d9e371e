import { SessionPgsqlError } from '../errors.ts'
import type { DatabaseEntry } from '../settings/settings.ts'
import type { Sessions } from '../table/sessions.ts'
import { Failback } from './failback.ts'
import type { Promotion } from './group.ts'
import { Health, isUnreachable } from './health.ts'
import type { Member } from './member.ts'
import { Server, type ServerSettings, type ServerStatus } from './server.ts'
import type { FailbackOutcome, MergeTexts } from './settle.ts'
import { ShardedSessions } from './sharded-sessions.ts'

export interface ServersSettings extends ServerSettings {
  readonly failoverMode: boolean
  readonly whenHomeIsDown: 'absent' | 'error'
}

/** What is told about the servers. */
export interface ServersListener {
  /** Whose servers they are, for diagnostics. */
  readonly handler: object
  onDown(server: string, error: Error): void
  onUp(server: string): void
  /** A request was served by another server than its session's home. */
  onFailover(event: { from: string; to: string }): void
  /** Another host has become the primary of a group. */
  onPromotion(event: { server: string } & Promotion): void
  onFailback(event: { id: string; from: string; to: string; outcome: FailbackOutcome }): void
  onError(error: Error): void
  merge: MergeTexts
}

export interface ServerAnswer<T> {
  readonly name: string
  readonly answer: T | undefined
  readonly error: SessionPgsqlError | undefined
}

/** The part of the ids whose home each server is, from 0 to 1. */
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

/** Every server of `db`, and which of them a session lies on. */
export class Servers {
  readonly all: readonly Server[]
  /** What a session's life goes through: the one table there is, or all of them. */
  readonly sessions: Sessions
  readonly #shares: ReadonlyMap<string, number>
  readonly #several:
    | { readonly members: readonly Member[]; readonly spread: ShardedSessions; readonly homecoming: Failback }
    | undefined

  /** @param entries at least one */
  constructor(entries: readonly DatabaseEntry[], settings: ServersSettings, listener: ServersListener) {
    this.all = entries.map(
      (entry) =>
        new Server(entry, settings, listener.handler, (promotion) =>
          listener.onPromotion({ server: entry.name, ...promotion }),
        ),
    )
    this.#shares = sharesOf({ db: entries, ...settings })
    const [first] = this.all
    if (this.all.length === 1) {
      this.sessions = (first as Server).table
      return
    }
    if (entries.every((entry) => weightOf(entry) === 0)) {
      throw new SessionPgsqlError(
        'INVALID_OPTION',
        'option db: every entry has weight=0; one of them must take the sessions',
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
          onDown: (error) => listener.onDown(name, error),
          onUp: () => {
            listener.onUp(name)
            void homecoming.look()
          },
        }),
        waiting: 0,
        failbacks: { brought: 0, merged: 0, dropped: 0 },
      }
    })
    const { failoverMode, whenHomeIsDown, operationTimeout } = settings
    const spread: ShardedSessions = new ShardedSessions({
      members,
      failoverMode,
      whenHomeIsDown,
      homecoming: () => homecoming,
      onFailover: listener.onFailover,
    })
    const homecoming: Failback = new Failback({
      members,
      homeOf: (id) => spread.ranked(id)[0] as Member,
      merge: listener.merge,
      operationTimeout,
      onFailback: listener.onFailback,
      onError: listener.onError,
    })
    this.sessions = spread
    this.#several = { members, spread, homecoming }
  }

  /** Asks the server on which a session of this id lies, or who stands in for it. */
  ask<T>(id: string, deadline: number, work: (server: Server) => Promise<T>): Promise<T> {
    if (this.#several === undefined) return work(this.all[0] as Server)
    return this.#several.spread.ask(id, deadline, ({ server }) => work(server))
  }

  /**
   * Asks every server that is up.
   *
   * @returns the answers, and the names of the servers that gave none
   * @throws what the first failed with, if none answered
   */
  async everywhere<T>(work: (server: Server) => Promise<T>): Promise<{ answers: T[]; missing: string[] }> {
    if (this.#several === undefined) return { answers: [await work(this.all[0] as Server)], missing: [] }
    const { members } = this.#several
    const asked = await Promise.allSettled(
      members.map(({ health, server }) => health.run(() => work(server))),
    )
    const answers = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = asked.find((one) => one.status === 'rejected')
    const unanswered = (error: unknown): boolean => isUnreachable(error)
    for (const one of asked) if (one.status === 'rejected' && !unanswered(one.reason)) throw one.reason
    if (answers.length === 0) throw failed?.reason
    return {
      answers,
      missing: members.filter((_, index) => asked[index]?.status === 'rejected').map(({ name }) => name),
    }
  }

  /** @param name of one that there is */
  named(name: string): Server {
    return this.all.find((server) => server.name === name) as Server
  }

  /** Asks every server; one that fails has the error instead of an answer. */
  each<T>(work: (server: Server) => Promise<T>): Promise<ServerAnswer<T>[]> {
    return Promise.all(
      this.all.map(async (server, index) => {
        const health = this.#several?.members[index]?.health
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

  /** What has to be waited for before the clock of an operation begins to run; nothing, as a rule. */
  get starting(): Promise<unknown> | undefined {
    // Asked for by every operation: nothing is allocated as a rule.
    const starting = this.all.some((server) => server.starting !== undefined)
    return starting ? Promise.all(this.all.map((server) => server.starting)) : undefined
  }

  status(): ServerStatus[] {
    if (this.#several === undefined) return this.all.map((server) => ({ ...server.status(), share: 1 }))
    return this.#several.members.map(({ server, health, waiting, failbacks }) => ({
      ...server.status(),
      ...(health.isDown ? { health: 'down' as const } : {}),
      share: this.#shares.get(server.name) ?? 0,
      homecoming: { waiting, ...failbacks },
    }))
  }

  async reset(): Promise<void> {
    await Promise.all(this.all.map((server) => server.reset()))
    await Promise.all(this.#several?.members.map(({ health }) => health.confirm()) ?? [])
  }

  async close(): Promise<void> {
    if (this.#several !== undefined) {
      for (const { health } of this.#several.members) health.close()
      await this.#several.homecoming.close()
    }
    await Promise.all(this.all.map((server) => server.close()))
  }
}
