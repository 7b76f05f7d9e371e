import { SessionPgsqlError } from '../errors.ts'
import { canBeFallback, idsWithRows } from '../table/row-copies.ts'
import type { Failback } from './failback.ts'
import type { Member, Ranking } from './member.ts'

export interface SessionRouterOptions {
  readonly ranked: (id: string) => Ranking
  readonly whenHomeIsDown: 'absent' | 'error'
  readonly failback: Failback
  readonly onFailover: (event: { from: string; to: string }) => void
}

/**
 * Runs an operation on one server.
 *
 * @param mayBeDone whether a server that was asked before may have done it: its answer was lost
 */
export type Work<T> = (member: Member, ranked: Ranking, mayBeDone: boolean) => Promise<T>

/** An operation on one session. */
export interface Operation<T> {
  readonly id: string
  /** In milliseconds of `performance.now()`. */
  readonly deadline: number
  /** Runs on the home server, or on a fallback server. Repeated if the session may have been moved meanwhile. */
  readonly work: Work<T>
  /** Returns true if an answer says that the server does not have the session, and another might. */
  readonly isAbsent: (answer: T) => boolean
  /** What happens if a server that may have the session cannot be asked. Default: the option `whenHomeIsDown`. */
  readonly whenUnknown?: 'absent' | 'error'
}

/**
 * Runs operations on the server that has the session: its home server or, while that is down, the next in rank.
 *
 * "Absent" has one meaning: the home server was asked again after every server that may have the session was asked.
 * Otherwise another process could move the session home in between. And a home server that was down is used for a
 * session only after what its fallback servers have of it was moved home, tombstones included.
 */
export class SessionRouter {
  readonly #options: SessionRouterOptions

  constructor(options: SessionRouterOptions) {
    this.#options = options
  }

  /**
   * Calls `work` with the home server of an id, or with the first fallback server that is up. If a server goes down
   * meanwhile, the same call continues with the next.
   *
   * @throws SERVER_DOWN if no server can be reached
   */
  async ask<T>(id: string, deadline: number, work: Work<T>): Promise<T> {
    const ranked = this.#options.ranked(id)
    const [home] = ranked
    let last: unknown
    let mayBeDone = false
    for (const member of ranked) {
      if (member.health.isDown) continue
      if (member !== home) this.#options.onFailover({ from: home.name, to: member.name })
      try {
        return await work(member, ranked, mayBeDone)
      } catch (error) {
        // The server has answered with an error, or no time is left for another.
        if (!member.health.isDown || performance.now() >= deadline) throw error
        last = error
        mayBeDone ||= error instanceof SessionPgsqlError && error.outcomeUnknown
      }
    }
    for (const { health } of ranked) void health.isBack()
    throw last ?? serverDown(`any of the ${ranked.length} database servers. Retrying in the background.`)
  }

  /** Runs an operation where the session is. @throws SERVER_DOWN also if it cannot be known where it is */
  async run<T>(operation: Operation<T>): Promise<T> {
    const { id, deadline, isAbsent, whenUnknown = this.#options.whenHomeIsDown } = operation
    await this.#options.failback.learn()
    const { answer, isCertain, home } = await this.ask(id, deadline, async (member, ranked, mayBeDone) => {
      const [home] = ranked
      const isHome = member === home
      const answer = isHome
        ? await this.#runAtHome(operation, ranked)
        : await this.#runOnFallback(operation, member, ranked, mayBeDone)
      return { answer, home, isCertain: isHome || !isAbsent(answer) }
    })
    if (isCertain) return answer
    // Another process may have found the home server up before this one, and have moved the session back.
    if (performance.now() < deadline && (await home.health.isBack())) return this.run(operation)
    if (whenUnknown === 'absent') return answer
    throw serverDown(
      `the home server of this session, ${home.name}, and no fallback server has the session (whenHomeIsDown: "error").`,
    )
  }

  async #runAtHome<T>(operation: Operation<T>, ranked: Ranking): Promise<T> {
    const [home, ...others] = ranked
    const holders = others.filter((other) => this.mayHave(other, ranked))
    await this.moveHome(operation, ranked, holders, 'any row')
    const run = (): Promise<T> => home.health.run(() => operation.work(home, ranked, false))
    const answer = await run()
    if (!operation.isAbsent(answer)) return answer
    // They were its fallback, or its home server until a server was added.
    await this.moveHome(operation, ranked, others, 'a session')
    return run()
  }

  async #runOnFallback<T>(
    { id, deadline, work, whenUnknown = this.#options.whenHomeIsDown }: Operation<T>,
    first: Member,
    ranked: Ranking,
    mayBeDone: boolean,
  ): Promise<T> {
    const [home, ...others] = ranked
    let member = first
    // With two servers down, another was used for the session, and has the latest version.
    for (const other of others) {
      if (other === first || !this.mayHave(other, ranked)) continue
      try {
        if (await other.health.run(() => hasRow(other, id, deadline))) member = other
      } catch {
        if (whenUnknown === 'error') throw unknownFault(other, home)
      }
    }
    const end = await this.#options.failback.use(home, member, member === ranked[1])
    try {
      return await member.health.run(() => work(member, ranked, mayBeDone))
    } finally {
      end()
    }
  }

  /**
   * Moves what these servers have of a session to its home server.
   *
   * @param what `any row`: also a tombstone; a row that cannot be moved is unknown. `a session`: it is missing at home,
   *   so one that cannot be moved is an error
   * @throws SERVER_DOWN if a server that may have the session cannot be asked (`whenUnknown: 'error'`)
   */
  async moveHome(
    {
      id,
      deadline,
      whenUnknown = this.#options.whenHomeIsDown,
    }: Pick<Operation<unknown>, 'id' | 'deadline' | 'whenUnknown'>,
    ranked: Ranking,
    others: readonly Member[],
    what: 'any row' | 'a session',
  ): Promise<void> {
    const [home] = ranked
    const isOn = async (from: Member): Promise<boolean> =>
      what === 'any row'
        ? hasRow(from, id, deadline)
        : (await from.server.sessions.read(id, deadline)) !== undefined
    const move = async (from: Member): Promise<Member | undefined> => {
      let isThere = false
      try {
        isThere = await from.health.run(() => isOn(from))
        if (isThere) await this.#options.failback.moveBack(id, from, home)
        return undefined
      } catch (error) {
        const isFault = isThere && what === 'a session' && !from.health.isDown
        if (isFault || home.health.isDown) throw error
        return this.mayHave(from, ranked) ? from : undefined
      }
    }
    const unknown = (await Promise.all(others.map(move))).find((from) => from !== undefined)
    if (unknown !== undefined && whenUnknown === 'error') throw unknownFault(unknown, home)
  }

  /** Returns true if a server may have a session because the session's home server was down. */
  mayHave(member: Member, ranked: Ranking): boolean {
    return this.#options.failback.pending.mayHave(ranked[0], member, member === ranked[1])
  }
}

/** Returns true if a server has a row of this id, also if it has expired or is a tombstone. */
async function hasRow({ server: { table } }: Member, id: string, deadline: number): Promise<boolean> {
  const shape = await table.open(deadline)
  return canBeFallback(shape) && (await idsWithRows(table, [id], deadline)).length > 0
}

export function serverDown(what: string): SessionPgsqlError {
  return new SessionPgsqlError('SERVER_DOWN', `Cannot reach ${what}`)
}

function unknownFault({ name }: Member, home: Member): SessionPgsqlError {
  return serverDown(
    `${name}, which may have the latest version of this session because its home server, ${home.name}, was down (whenHomeIsDown: "error").`,
  )
}
