import { SessionPgsqlError } from '../errors.ts'
import type { Change, MetadataUpdate, StoredSession, Touch } from '../session/stored.ts'
import { type Answer, GONE } from '../table/answers.ts'
import type { Put, Save } from '../table/requests.ts'
import {
  baseOf,
  canBeFallback,
  lockRowCopy,
  type RowCopy,
  recordBase,
  tombstone,
} from '../table/row-copies.ts'
import type { StoredSessions } from '../table/stored-sessions.ts'
import type { Failback } from './failback.ts'
import type { Member } from './member.ts'
import { rank } from './placement.ts'
import { isMerged, supersedes } from './settle.ts'

/** Servers asked for a session that its home server does not have: as many servers as may be added at a time. */
const NEXT_IN_RANK = 3

export interface ShardedSessionsOptions {
  readonly members: readonly Member[]
  /** Always use the first server of the list that is up, instead of sharding. */
  readonly failoverMode: boolean
  readonly whenHomeIsDown: 'absent' | 'error'
  /** Seconds after its expiry for which a session may be saved. */
  readonly expiryGrace: number
  readonly failback: () => Failback
  readonly onFailover: (event: { from: string; to: string }) => void
}

/**
 * Sessions sharded over several independent servers. Each session has a home server. While that is down, the next
 * server in rank is the fallback: the rows that it stores name their home server, and are moved back later. A record
 * remembers the server that it was read from: only that server can say that the session is gone.
 */
export class ShardedSessions implements StoredSessions {
  readonly #options: ShardedSessionsOptions

  constructor(options: ShardedSessionsOptions) {
    this.#options = options
  }

  /** Returns the servers in the order in which they are used for this id: the home server, then its fallbacks. */
  ranked(id: string): readonly Member[] {
    const { members, failoverMode } = this.#options
    return failoverMode ? members : rank(id, members)
  }

  /**
   * Runs work on the home server of an id, or on the first fallback server that is up. If a server goes down meanwhile,
   * the same call continues with the next.
   *
   * @throws SERVER_DOWN if no server can be reached
   */
  async ask<T>(id: string, deadline: number, work: (member: Member, home: Member) => Promise<T>): Promise<T> {
    const ranked = this.ranked(id)
    const home = ranked[0] as Member
    let last: unknown
    for (const member of ranked) {
      if (member.health.isDown) continue
      if (member !== home) this.#options.onFailover({ from: home.name, to: member.name })
      try {
        return await member.health.run(() => work(member, home))
      } catch (error) {
        // The server has answered with an error, or no time is left for another.
        if (!member.health.isDown || performance.now() >= deadline) throw error
        last = error
      }
    }
    for (const { health } of ranked) void health.isBack()
    throw (
      last ??
      new SessionPgsqlError(
        'SERVER_DOWN',
        `Cannot reach any of the ${ranked.length} database servers. Retrying in the background.`,
      )
    )
  }

  async read(id: string, deadline: number): Promise<StoredSession | undefined> {
    const { stored, isCertain } = await this.ask(id, deadline, async (member, home) => {
      let found = await member.server.table.read(id, deadline)
      if (found === undefined && member === home && (await this.#moveHome(id, home, deadline))) {
        found = await member.server.table.read(id, deadline)
      }
      return { stored: found && withServer(found, member), isCertain: member === home }
    })
    if (stored !== undefined || isCertain) return stored
    // Another process may have found the home server up before this one, and have moved the session back.
    return (await this.#isHomeBack(id, deadline)) ? this.read(id, deadline) : undefined
  }

  /**
   * Returns true if the home server is back. Called before a fallback server's "no such session" is trusted.
   *
   * @throws SERVER_DOWN if it is not to be trusted (`whenHomeIsDown: 'error'`)
   */
  async #isHomeBack(id: string, deadline: number): Promise<boolean> {
    const [home] = this.ranked(id)
    if (performance.now() < deadline && (await (home as Member).health.isBack())) return true
    if (this.#options.whenHomeIsDown === 'absent') return false
    throw new SessionPgsqlError(
      'SERVER_DOWN',
      `Cannot reach the home server of this session, ${(home as Member).name}, and no fallback server has the session (whenHomeIsDown: "error").`,
    )
  }

  save(request: Save, deadline: number): Promise<Answer> {
    const { change, base } = request
    const { id } = change
    return this.ask(id, deadline, async (member, home) => {
      const { table } = member.server
      if (base === undefined) {
        const answer = await table.save(request, deadline)
        if (answer.outcome !== 'gone') return answerFrom(member, answer)
        if (member !== home && (await this.#isHomeBack(id, deadline))) return this.save(request, deadline)
        const isMoved = member === home && (await this.#moveHome(id, home, deadline))
        return answerFrom(member, isMoved ? await table.save(request, deadline) : answer)
      }
      if (base.server === member.name) {
        const answer = await table.save(request, deadline)
        if (answer.outcome !== 'gone' || member === home) return answerFrom(member, answer)
        // A destroy would have left a tombstone. Usually the row has just been moved back.
        if (!home.health.isDown) return this.save(request, deadline)
      }
      const current = member === home ? await this.#readAtHome(base, home, deadline) : 'unknown'
      if (current === 'unknown') {
        return answerFrom(member, await this.#writeRecord(member, home, change, base, deadline))
      }
      if (current === undefined || !(await this.#isSameGeneration(current, base, home, deadline))) return GONE
      if (current.text !== base.text) return answerFrom(member, { outcome: 'conflict', stored: current })
      return answerFrom(member, await table.save({ change, base: current }, deadline))
    })
  }

  put(request: Put, deadline: number): Promise<Answer> {
    const { change, mustBeAbsent } = request
    return this.ask(change.id, deadline, async (member, home) => {
      const { table } = member.server
      if (member === home) {
        const answer = await table.put(request, deadline)
        // The session that it replaces may be on another server, where it must not be found once this one is gone.
        // The write has succeeded, so an error here does not count.
        if (answer.outcome === 'created' && !mustBeAbsent) {
          await this.#moveHome(change.id, home, deadline).catch(() => false)
        }
        return answerFrom(member, answer)
      }
      const canMark = canBeFallback(await table.open(deadline))
      return answerFrom(
        member,
        await (canMark ? this.#putOnFallback(member, home, request, deadline) : table.put(request, deadline)),
      )
    })
  }

  async #putOnFallback(
    { server }: Member,
    home: Member,
    { change, mustBeAbsent }: Put,
    deadline: number,
  ): Promise<Answer> {
    return server.table.transaction(async (query, shape): Promise<Answer> => {
      const { row, clock, write } = await lockRowCopy(query, shape, change.id)
      const alive = row !== undefined && isAlive(row, clock) ? row : undefined
      if (alive !== undefined && mustBeAbsent) return { outcome: 'conflict', stored: alive.session }
      const now = Math.ceil(clock)
      const empty = tombstone(change.id, undefined, null, clock).session
      const created: StoredSession = {
        ...empty,
        name: change.name,
        created: now,
        addressCreated: change.address,
        generation: Math.floor(clock * 1e6),
      }
      const session = changed(alive?.session ?? created, change, clock, change.lifetime)
      const replaced = mustBeAbsent ? null : recordBase(empty, { replaced: now })
      // After a destroy this is a new generation, and must not be merged with the old one.
      const base =
        row?.destroyed == null
          ? (alive?.base ?? replaced)
          : recordBase(row.session, { destroyed: row.destroyed })
      const written = { session, home: home.name, base, received: null, destroyed: null }
      const outcome = alive === undefined ? 'created' : 'updated'
      return { outcome, stored: (await write(written)).session }
    }, deadline)
  }

  touch(request: Touch, deadline: number): Promise<Answer> {
    const { id, base } = request
    return this.ask(id, deadline, async (member, home) => {
      const { table } = member.server
      if (base === undefined) {
        const answer = await table.touch(request, deadline)
        if (answer.outcome !== 'gone') return answer
        if (member !== home && (await this.#isHomeBack(id, deadline))) return this.touch(request, deadline)
        const isMoved = member === home && (await this.#moveHome(id, home, deadline))
        return isMoved ? table.touch(request, deadline) : answer
      }
      if (base.server === member.name) {
        const answer = await table.touch(request, deadline)
        if (answer.outcome !== 'gone' || member === home) return answer
        if (!home.health.isDown) return this.touch(request, deadline)
      }
      const current = member === home ? await this.#readAtHome(base, home, deadline) : 'unknown'
      if (current !== 'unknown') {
        if (current === undefined || !(await this.#isSameGeneration(current, base, home, deadline)))
          return GONE
        return table.touch({ ...request, base: current.text === base.text ? current : undefined }, deadline)
      }
      const change: Change & { keepExpiry: boolean } = {
        id,
        text: base.text,
        lifetime: request.lifetime ?? 0,
        access: request.access,
        address: null,
        name: base.name ?? '',
        metadata: request.metadata,
        keepExpiry: request.lifetime === null,
      }
      const written = await this.#writeRecord(member, home, change, base, deadline)
      // Another request has written the session there: it only needs to be touched.
      if (written.outcome === 'conflict') return table.touch({ ...request, base: undefined }, deadline)
      if (written.outcome === 'gone' || written.stored === undefined) return GONE
      return { outcome: 'touched', expires: written.stored.expires, clock: written.stored.clock }
    })
  }

  /** Leaves a tombstone, which supersedes what other servers may still move back. */
  destroy(id: string, deadline: number): Promise<Answer> {
    return this.ask(id, deadline, async (member, home) => {
      const { table } = member.server
      if (!canBeFallback(await table.open(deadline))) return table.destroy(id, deadline)
      const wasAlive = await table.transaction(async (query, shape) => {
        const { row, clock, write } = await lockRowCopy(query, shape, id)
        await write(tombstone(id, row, member === home ? null : home.name, clock))
        return row !== undefined && isAlive(row, clock)
      }, deadline)
      const isMoved = !wasAlive && member === home && (await this.#moveHome(id, home, deadline))
      return { outcome: wasAlive || isMoved ? 'destroyed' : 'gone' }
    })
  }

  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    return this.ask(id, deadline, async (member) => {
      const { table } = member.server
      return answerFrom(
        member,
        await table.saveLocked(id, (current) => decide(withServer(current, member)), deadline),
      )
    })
  }

  replicated(id: string, deadline: number): Promise<void> {
    return this.ask(id, deadline, ({ server }) => server.table.replicated(id, deadline))
  }

  /**
   * Looks on other servers for a session that its home server does not have, and moves it home: they were its
   * fallback, or its home until a server was added.
   *
   * @returns true if another server had it
   */
  async #moveHome(id: string, home: Member, deadline: number): Promise<boolean> {
    const others = this.ranked(id).filter((member) => member !== home && !member.health.isDown)
    // Also asks the servers that are being drained (weight 0), whatever their rank. In parallel: the request waits.
    const asked = others.filter(({ weight }, index) => index < NEXT_IN_RANK || weight === 0)
    const found = await Promise.all(
      asked.map(({ health, server }) =>
        health
          .run(() => server.table.read(id, deadline))
          // A server that cannot be asked does not invalidate the answer of the home server.
          .catch(() => undefined),
      ),
    )
    const from = asked.find((_, index) => found[index] !== undefined)
    return from !== undefined && (await this.#options.failback().moveBack(id, from, home)) !== undefined
  }

  /**
   * Reads the session from its home server, after moving back the version that the record was read from.
   *
   * @returns 'unknown' if the home server has no row and the server that the record was read from is down
   */
  async #readAtHome(
    base: StoredSession,
    home: Member,
    deadline: number,
  ): Promise<StoredSession | 'unknown' | undefined> {
    const from = this.#options.members.find(({ name }) => name === base.server)
    const isReachable = from !== undefined && !from.health.isDown
    if (isReachable) await this.#options.failback().moveBack(base.id, from, home)
    const current = await home.server.table.read(base.id, deadline)
    return current ?? (isReachable ? undefined : 'unknown')
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

  /**
   * Writes a whole record to a server from which it was not read, because its server is or was down. On a fallback
   * server, the row names its home server and what it replaces there.
   */
  async #writeRecord(
    member: Member,
    home: Member,
    change: Change & { keepExpiry?: boolean },
    base: StoredSession,
    deadline: number,
  ): Promise<Answer> {
    const { table } = member.server
    if (!canBeFallback(await table.open(deadline))) {
      throw new SessionPgsqlError(
        'SERVER_DOWN',
        `Cannot reach the home server of this session, ${home.name}, and the session table on ${member.name} lacks the columns of a fallback server (sess_home, sess_base, sess_destroyed). Add them with: session-pgsql init.`,
      )
    }
    return table.transaction(async (query, shape): Promise<Answer> => {
      const { row, clock, write } = await lockRowCopy(query, shape, base.id)
      if (row?.destroyed != null && supersedes(row, base, row.base === null ? undefined : baseOf(row.base))) {
        return GONE
      }
      if (row !== undefined && row.destroyed === null && isAlive(row, clock - this.#options.expiryGrace)) {
        if (row.session.generation !== base.generation) return GONE
        if (row.session.text !== base.text) return { outcome: 'conflict', stored: row.session }
      }
      const lifetime = change.keepExpiry ? null : change.lifetime
      const known = row?.destroyed === null ? row : undefined
      const { session: stored } = await write({
        session: changed(base, change, clock, lifetime),
        ...(member === home
          ? { home: null, base: null, received: known?.received ?? null }
          : { home: home.name, base: known === undefined ? recordBase(base) : known.base, received: null }),
        destroyed: null,
      })
      return { outcome: 'updated', stored }
    }, deadline)
  }
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

/** Returns the record after a change, as the SQL statements would leave it. @param lifetime null keeps the expiry */
function changed(base: StoredSession, change: Change, clock: number, lifetime: number | null): StoredSession {
  const metadata: MetadataUpdate = change.metadata ?? {}
  return {
    ...base,
    text: change.text,
    version: change.text === base.text ? base.version : base.version + 1,
    modified: change.text === base.text && base.modified !== null ? base.modified : Math.ceil(clock),
    expires: lifetime === null ? base.expires : Math.ceil(clock + lifetime),
    addressModified: change.address ?? base.addressModified,
    accesses: base.accesses + (change.access ? 1 : 0),
    errors: base.errors + (metadata.errors ?? 0),
    warnings: base.warnings + (metadata.warnings ?? 0),
    notices: base.notices + (metadata.notices ?? 0),
    errorMessage: metadata.message ?? base.errorMessage,
    custom: metadata.custom === undefined ? base.custom : metadata.custom,
  }
}
