import { SessionPgsqlError } from '../errors.ts'
import {
  type Change,
  type MetadataUpdate,
  remaining,
  type StoredSession,
  type Touch,
} from '../session/stored.ts'
import { type Answer, GONE } from '../table/answers.ts'
import type { Put, Save } from '../table/requests.ts'
import {
  AT_HOME,
  baseOf,
  canBeFallback,
  emptySession,
  idsWithRows,
  lockRowCopy,
  longestLifetime,
  type RowCopy,
  recordBase,
  tombstone,
  UNKNOWN_TIME,
} from '../table/row-copies.ts'
import type { StoredSessions } from '../table/stored-sessions.ts'
import type { Failback } from './failback.ts'
import type { Member, Ranking } from './member.ts'
import { isMerged, supersedes } from './settle.ts'

/** Milliseconds for which the longest lifetime in use on a server is remembered. */
const LIFETIME_REMEMBERED = 60_000

export interface ShardedSessionsOptions {
  readonly ranked: (id: string) => Ranking
  readonly whenHomeIsDown: 'absent' | 'error'
  /** Seconds that a session lives by default. */
  readonly gcMaxlifetime: number
  /** Seconds after its expiry for which a session may be saved. */
  readonly expiryGrace: number
  readonly failback: Failback
  readonly onFailover: (event: { from: string; to: string }) => void
}

/** An operation on one session. */
interface Operation<T> {
  readonly id: string
  readonly deadline: number
  /** Runs on the home server, or on a fallback server. Repeated if the session may have been moved meanwhile. */
  readonly work: (member: Member, ranked: Ranking) => Promise<T>
  /** Returns true if an answer says that the server does not have the session, and another might. */
  readonly isAbsent: (answer: T) => boolean
  /** What happens if a server that may have the session cannot be asked. Default: the option `whenHomeIsDown`. */
  readonly whenUnknown?: 'absent' | 'error'
}

/** The answer of a server that knows that the session has ended. */
const ENDED: Answer = { outcome: 'gone' }

const isAbsent = (answer: Answer): boolean => answer.outcome === 'gone' && answer !== ENDED

/**
 * Sessions sharded over several independent servers. Each session has a home server. While that is down, the next
 * server in rank is the fallback: the rows that it stores name their home server, and are moved back later. A record
 * remembers the server that it was read from.
 *
 * "Absent" has one meaning: the home server was read again after every server that may have the session was asked.
 * Otherwise another process could move it home in between. And a home server that was down is used for a session only
 * after what its fallback servers have of it was moved home, tombstones included.
 */
export class ShardedSessions implements StoredSessions {
  readonly #options: ShardedSessionsOptions
  readonly #lifetimes = new Map<Member, { readonly seconds: Promise<number>; readonly until: number }>()

  constructor(options: ShardedSessionsOptions) {
    this.#options = options
  }

  /**
   * Calls `work` with the home server of an id, or with the first fallback server that is up. If a server goes down
   * meanwhile, the same call continues with the next.
   *
   * @throws SERVER_DOWN if no server can be reached
   */
  async ask<T>(
    id: string,
    deadline: number,
    work: (member: Member, ranked: Ranking) => Promise<T>,
  ): Promise<T> {
    const ranked = this.#options.ranked(id)
    const [home] = ranked
    let last: unknown
    for (const member of ranked) {
      if (member.health.isDown) continue
      if (member !== home) this.#options.onFailover({ from: home.name, to: member.name })
      try {
        return await work(member, ranked)
      } catch (error) {
        // The server has answered with an error, or no time is left for another.
        if (!member.health.isDown || performance.now() >= deadline) throw error
        last = error
      }
    }
    for (const { health } of ranked) void health.isBack()
    throw last ?? serverDown(`any of the ${ranked.length} database servers. Retrying in the background.`)
  }

  /** Runs an operation where the session is. */
  async #run<T>(operation: Operation<T>): Promise<T> {
    const { id, deadline, isAbsent, whenUnknown = this.#options.whenHomeIsDown } = operation
    await this.#options.failback.learn()
    const { answer, isCertain, home } = await this.ask(id, deadline, async (member, ranked) => {
      const [home] = ranked
      const isHome = member === home
      const run = isHome ? this.#runAtHome(operation, ranked) : this.#runOnFallback(operation, member, ranked)
      const answer = await run
      return { answer, home, isCertain: isHome || !isAbsent(answer) }
    })
    if (isCertain) return answer
    // Another process may have found the home server up before this one, and have moved the session back.
    if (performance.now() < deadline && (await home.health.isBack())) return this.#run(operation)
    if (whenUnknown === 'absent') return answer
    throw serverDown(
      `the home server of this session, ${home.name}, and no fallback server has the session (whenHomeIsDown: "error").`,
    )
  }

  async #runAtHome<T>(operation: Operation<T>, ranked: Ranking): Promise<T> {
    const [home, ...others] = ranked
    const holders = others.filter((other) => this.#mayHave(other, ranked))
    await this.#moveHome(operation, ranked, holders, 'any row')
    const run = (): Promise<T> => home.health.run(() => operation.work(home, ranked))
    const answer = await run()
    if (!operation.isAbsent(answer)) return answer
    // They were its fallback, or its home server until a server was added.
    await this.#moveHome(operation, ranked, others, 'a session')
    return run()
  }

  /**
   * Moves what these servers have of a session to its home server.
   *
   * @param what `any row`: also a tombstone; a row that cannot be moved is unknown. `a session`: it is missing at home,
   *   so one that cannot be moved is an error
   * @throws SERVER_DOWN if a server that may have the session cannot be asked
   */
  async #moveHome(
    {
      id,
      deadline,
      whenUnknown = this.#options.whenHomeIsDown,
    }: Omit<Operation<unknown>, 'work' | 'isAbsent'>,
    ranked: Ranking,
    others: readonly Member[],
    what: 'any row' | 'a session',
  ): Promise<void> {
    const [home] = ranked
    const move = async (from: Member): Promise<Member | undefined> => {
      let isThere = false
      try {
        isThere = await from.health.run(async () =>
          what === 'any row'
            ? this.#hasRow(from, id, deadline)
            : (await from.server.table.read(id, deadline)) !== undefined,
        )
        if (isThere) await this.#options.failback.moveBack(id, from, home)
        return undefined
      } catch (error) {
        const isFault = isThere && what === 'a session' && !from.health.isDown
        if (isFault || home.health.isDown) throw error
        return this.#mayHave(from, ranked) ? from : undefined
      }
    }
    const unknown = (await Promise.all(others.map(move))).find((from) => from !== undefined)
    if (unknown !== undefined && whenUnknown === 'error') throw unknownFault(unknown, home)
  }

  async #runOnFallback<T>(
    { id, deadline, work, whenUnknown = this.#options.whenHomeIsDown }: Operation<T>,
    first: Member,
    ranked: Ranking,
  ): Promise<T> {
    const [home, ...others] = ranked
    let member = first
    // With two servers down, another was used for the session, and has the latest version.
    for (const other of others) {
      if (other === first || !this.#mayHave(other, ranked)) continue
      try {
        if (await other.health.run(() => this.#hasRow(other, id, deadline))) member = other
      } catch {
        if (whenUnknown === 'error') throw unknownFault(other, home)
      }
    }
    const end = await this.#options.failback.use(home, member, member === ranked[1])
    try {
      return await member.health.run(() => work(member, ranked))
    } finally {
      end()
    }
  }

  /** Returns true if a server may have a session because the session's home server was down. */
  #mayHave(member: Member, ranked: Ranking): boolean {
    return this.#options.failback.pending.mayHave(ranked[0], member, member === ranked[1])
  }

  async #hasRow({ server: { table } }: Member, id: string, deadline: number): Promise<boolean> {
    const shape = await table.open(deadline)
    return canBeFallback(shape) && (await idsWithRows(table, [id], deadline)).length > 0
  }

  read(id: string, deadline: number): Promise<StoredSession | undefined> {
    return this.#run({
      ...{ id, deadline },
      async work(member) {
        const found = await member.server.table.read(id, deadline)
        return found && withServer(found, member)
      },
      isAbsent: (found) => found === undefined,
    })
  }

  save({ change, base }: Save, deadline: number): Promise<Answer> {
    const { id } = change
    return this.#run({
      ...{ id, deadline, isAbsent },
      work: async (member, ranked) => {
        const { table } = member.server
        if (base === undefined && member === ranked[0]) {
          return answerFrom(member, await table.save({ change, base }, deadline))
        }
        if (base === undefined) return this.#replace(member, ranked, change, 'existing', deadline)
        const saveAfter = async (current: StoredSession): Promise<Answer> =>
          current.text === base.text
            ? table.save({ change, base: current }, deadline)
            : { outcome: 'conflict', stored: current }
        const writeRecord = () => this.#writeRecord(member, ranked, change, base, deadline)
        return answerFrom(
          member,
          await this.#continue(member, ranked, base, deadline, saveAfter, writeRecord),
        )
      },
    })
  }

  put(request: Put, deadline: number): Promise<Answer> {
    const { change, mustBeAbsent } = request
    const { id } = change
    return this.#run({
      ...{ id, deadline },
      work: async (member, ranked) => {
        const [home, ...others] = ranked
        if (member !== home) {
          return this.#replace(member, ranked, change, mustBeAbsent ? 'absent' : 'anything', deadline)
        }
        const answer = await member.server.table.put(request, deadline)
        // The session that it replaces may be on another server, where it must not be found once this one is gone.
        // The write has succeeded, so an error here does not count.
        if (answer.outcome === 'created' && !mustBeAbsent) {
          await this.#moveHome({ id, deadline }, ranked, others, 'a session').catch(() => {})
        }
        return answerFrom(member, answer)
      },
      isAbsent: () => false,
      // A new visitor does not depend on a second server.
      ...(mustBeAbsent ? { whenUnknown: 'absent' } : {}),
    })
  }

  touch(request: Touch, deadline: number): Promise<Answer> {
    const { id, base } = request
    return this.#run({
      ...{ id, deadline, isAbsent },
      work: async (member, ranked) => {
        const { table } = member.server
        if (base === undefined) return table.touch(request, deadline)
        const touchAfter = (current: StoredSession): Promise<Answer> =>
          table.touch({ ...request, base: current.text === base.text ? current : undefined }, deadline)
        return this.#continue(member, ranked, base, deadline, touchAfter, async () => {
          const change: Change = {
            ...request,
            ...{ text: base.text, address: null, name: base.name ?? '' },
            lifetime: request.lifetime ?? Math.max(0, remaining(base)),
          }
          const answer = await this.#writeRecord(member, ranked, change, base, deadline)
          // Another request has written the session there: it only needs to be touched.
          if (answer.outcome === 'conflict') return table.touch({ ...request, base: undefined }, deadline)
          if (answer.stored === undefined) return answer
          const { expires, clock } = answer.stored
          return { outcome: 'touched', expires, clock }
        })
      },
    })
  }

  /**
   * Leaves a tombstone, which supersedes what other servers may still move back. None is left if every server that may
   * have the session has answered, and none has it.
   */
  destroy(id: string, deadline: number): Promise<Answer> {
    return this.#run({
      ...{ id, deadline, isAbsent },
      work: async (member, ranked) => {
        const [home] = ranked
        const { table } = member.server
        if (!canBeFallback(await table.open(deadline))) return table.destroy(id, deadline)
        const lifetime = await this.#longestLifetime(member, deadline)
        return table.transaction(async (query, shape): Promise<Answer> => {
          const { row, clock, write } = await lockRowCopy(query, shape, id)
          const mayBeElsewhere = ranked.some(
            (other) => ![home, member].includes(other) && other.health.isDown && this.#mayHave(other, ranked),
          )
          const isKnownAbsent = (row === undefined || row.destroyed !== null) && !mayBeElsewhere
          if (member === home && isKnownAbsent) return GONE
          const at =
            member === home
              ? { home: null, destroyed: Math.ceil(clock) }
              : { home: home.name, destroyed: timeAt(home) }
          await write(tombstone(id, row, { ...at, clock, mayBeElsewhere, lifetime }))
          return row !== undefined && isAlive(row, clock) ? { outcome: 'destroyed' } : GONE
        }, deadline)
      },
      // A logout does not depend on a second server: the tombstone ends what that server has.
      whenUnknown: 'absent',
    })
  }

  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    let isFound = false
    return this.#run({
      ...{ id, deadline },
      async work(member) {
        const decideHere = (current: StoredSession): Promise<Save | undefined> => {
          isFound = true
          return decide(withServer(current, member))
        }
        return answerFrom(member, await member.server.table.saveLocked(id, decideHere, deadline))
      },
      isAbsent: () => !isFound,
    })
  }

  replicated(id: string, deadline: number): Promise<void> {
    return this.ask(id, deadline, ({ health, server }) =>
      health.run(() => server.table.replicated(id, deadline)),
    )
  }

  /**
   * Changes a session that the caller has read as `base`, perhaps on another server.
   *
   * @param change changes the row that this server has
   * @param writeRecord writes the whole record to this server
   */
  async #continue(
    member: Member,
    [home, ...others]: Ranking,
    base: StoredSession,
    deadline: number,
    change: (current: StoredSession) => Promise<Answer>,
    writeRecord: () => Promise<Answer>,
  ): Promise<Answer> {
    if (base.server === member.name) {
      const answer = await change(base)
      if (answer.outcome !== 'gone' || member === home) return answer
      // A destroy would have left a tombstone, which `writeRecord` finds. Usually the row has just been moved back.
      return (await home.health.isBack()) ? GONE : writeRecord()
    }
    if (member !== home) return writeRecord()
    const current = await home.server.table.read(base.id, deadline)
    if (current !== undefined) {
      return (await this.#isSameGeneration(current, base, home, deadline)) ? change(current) : GONE
    }
    const from = others.find(({ name }) => name === base.server)
    return from === undefined || from.health.isDown ? writeRecord() : GONE
  }

  async #isSameGeneration(
    current: StoredSession,
    base: StoredSession,
    home: Member,
    deadline: number,
  ): Promise<boolean> {
    if (current.generation === base.generation) return true
    return home.server.table.transaction(async (query, shape) => {
      const { row } = await lockRowCopy(query, shape, base.id)
      return row !== undefined && isMerged(row, base)
    }, deadline)
  }

  /** Writes a session to a fallback server without a base. It replaces the session that the home server has. */
  async #replace(
    member: Member,
    [home]: Ranking,
    change: Change,
    expected: 'absent' | 'existing' | 'anything',
    deadline: number,
  ): Promise<Answer> {
    const { table } = member.server
    if (!canBeFallback(await table.open(deadline))) {
      const answer = await (expected === 'existing'
        ? table.save({ change, base: undefined }, deadline)
        : table.put({ change, mustBeAbsent: expected === 'absent' }, deadline))
      return answerFrom(member, answer)
    }
    return table.transaction(async (query, shape): Promise<Answer> => {
      const { row, clock, write } = await lockRowCopy(query, shape, change.id)
      const alive = row !== undefined && isAlive(row, clock) ? row : undefined
      if (alive === undefined && expected === 'existing') return GONE
      if (alive !== undefined && expected === 'absent') {
        return answerFrom(member, { outcome: 'conflict', stored: alive.session })
      }
      const empty = emptySession(change.id, clock)
      const session = alive?.session ?? {
        ...empty,
        ...beginning(home, clock),
        name: change.name,
        addressCreated: change.address,
      }
      const replaced = expected === 'absent' ? null : recordBase(empty, { replaced: timeAt(home) })
      // After a destroy this is a new generation, and must not be merged with the old one.
      const base =
        row?.destroyed == null
          ? (alive?.base ?? replaced)
          : recordBase(row.session, { destroyed: row.destroyed })
      const written = { ...AT_HOME, session: changed(session, change, clock), home: home.name, base }
      const { session: stored } = await write(written)
      return answerFrom(member, { outcome: alive === undefined ? 'created' : 'updated', stored })
    }, deadline)
  }

  /**
   * Writes a whole record to a server from which it was not read, because its server is or was down. On a fallback
   * server, the row names its home server and what it replaces there.
   */
  async #writeRecord(
    member: Member,
    [home]: Ranking,
    change: Change,
    base: StoredSession,
    deadline: number,
  ): Promise<Answer> {
    const { table } = member.server
    if (!canBeFallback(await table.open(deadline))) {
      throw serverDown(
        `the home server of this session, ${home.name}, and the session table on ${member.name} lacks the columns of a fallback server (sess_home, sess_base, sess_destroyed). Add them with: session-pgsql init.`,
      )
    }
    return table.transaction(async (query, shape): Promise<Answer> => {
      const { row, clock, write } = await lockRowCopy(query, shape, base.id)
      if (row?.destroyed != null && supersedes(row, base, row.base === null ? undefined : baseOf(row.base))) {
        return ENDED
      }
      if (row !== undefined && row.destroyed === null && isAlive(row, clock - this.#options.expiryGrace)) {
        if (row.session.generation !== base.generation) return ENDED
        if (row.session.text !== base.text) return { outcome: 'conflict', stored: row.session }
      } else if (remaining(base) < -this.#options.expiryGrace) return ENDED
      const known = row?.destroyed === null ? row : undefined
      const { session: stored } = await write({
        ...AT_HOME,
        session: changed(base, change, clock),
        ...(member === home
          ? { received: known?.received ?? null }
          : { home: home.name, base: known === undefined ? recordBase(base) : known.base }),
      })
      return { outcome: 'updated', stored }
    }, deadline)
  }

  /** Returns the seconds for which a session on a server may live. */
  async #longestLifetime(member: Member, deadline: number): Promise<number> {
    let known = this.#lifetimes.get(member)
    if (known === undefined || known.until < performance.now()) {
      const seconds = longestLifetime(member.server.table, deadline)
      known = { seconds, until: performance.now() + LIFETIME_REMEMBERED }
      this.#lifetimes.set(member, known)
    }
    return Math.max(await known.seconds, this.#options.gcMaxlifetime)
  }
}

function serverDown(what: string): SessionPgsqlError {
  return new SessionPgsqlError('SERVER_DOWN', `Cannot reach ${what}`)
}

function unknownFault({ name }: Member, home: Member): SessionPgsqlError {
  return serverDown(
    `${name}, which may have the latest version of this session because its home server, ${home.name}, was down (whenHomeIsDown: "error").`,
  )
}

function withServer(stored: StoredSession, { name }: Member): StoredSession {
  return { ...stored, server: name }
}

function answerFrom(member: Member, answer: Answer): Answer {
  return answer.stored === undefined ? answer : { ...answer, stored: withServer(answer.stored, member) }
}

function isAlive({ session: { expires }, destroyed }: RowCopy, clock: number): boolean {
  return destroyed === null && (expires === null || expires >= clock)
}

/**
 * Returns the present time by a server's clock as this process knows it, in whole seconds. A session created there
 * before is not later: creation is rounded up, and the last answer of the server is older than its arrival.
 */
function timeAt({ server }: Member): number {
  const clock = server.table.knownClock
  return clock === undefined ? UNKNOWN_TIME : Math.ceil(clock) + 1
}

/** Returns when a session begins on a fallback server, by the home server's clock. See `isCreatedUntil` in settle.ts. */
function beginning(home: Member, clock: number): Pick<StoredSession, 'created' | 'generation'> {
  const { knownClock } = home.server.table
  const sign = knownClock === undefined ? -1 : 1
  return {
    created: Math.ceil(knownClock ?? clock),
    generation: sign * Math.floor((knownClock ?? clock) * 1e6),
  }
}

/** Returns the record after a change, as the SQL statements would leave it. */
function changed(base: StoredSession, change: Change, clock: number): StoredSession {
  const metadata: MetadataUpdate = change.metadata ?? {}
  return {
    ...base,
    text: change.text,
    version: change.text === base.text ? base.version : base.version + 1,
    modified: change.text === base.text && base.modified !== null ? base.modified : Math.ceil(clock),
    expires: change.lifetime === Number.POSITIVE_INFINITY ? null : Math.ceil(clock + change.lifetime),
    addressModified: change.address ?? base.addressModified,
    accesses: base.accesses + (change.access ? 1 : 0),
    errors: base.errors + (metadata.errors ?? 0),
    warnings: base.warnings + (metadata.warnings ?? 0),
    notices: base.notices + (metadata.notices ?? 0),
    errorMessage: metadata.message ?? base.errorMessage,
    custom: metadata.custom === undefined ? base.custom : metadata.custom,
  }
}
