import { SessionPgsqlError } from '../errors.ts'
import { type Change, GRACE, type MetadataUpdate, type StoredSession, type Touch } from '../session/stored.ts'
import { type Answer, GONE } from '../table/answers.ts'
import type { Put, Save } from '../table/requests.ts'
import {
  baseOf,
  canBeFallback,
  lockRowCopy,
  type RowCopy,
  recordBase,
  tombstone,
  writeRowCopy,
} from '../table/row-copies.ts'
import type { Sessions } from '../table/sessions.ts'
import type { Failback } from './failback.ts'
import type { Member } from './member.ts'
import { rank } from './placement.ts'
import { beats, isMerged } from './settle.ts'

/** How many are asked for what home does not have: as many servers as may be added at a time. */
const NEXT = 3

export interface ShardedSessionsOptions {
  readonly members: readonly Member[]
  /** Always the first of the list that is up, instead of spreading. */
  readonly failoverMode: boolean
  readonly whenHomeIsDown: 'absent' | 'error'
  readonly homecoming: () => Failback
  readonly onFailover: (event: { from: string; to: string }) => void
}

/**
 * Sessions on several independent servers. Each has its home; while that is down the next in rank stands in for
 * it, and what it keeps is marked, to be brought home. A record remembers the server that it was read from:
 * only that one can say that the session is gone.
 */
export class ShardedSessions implements Sessions {
  readonly #options: ShardedSessionsOptions

  constructor(options: ShardedSessionsOptions) {
    this.#options = options
  }

  /** Home first, then those that stand in for it. */
  ranked(id: string): readonly Member[] {
    const { members, failoverMode } = this.#options
    return failoverMode ? members : rank(id, members)
  }

  /** Asks the home, or who stands in for it. Who does not answer is passed over, within the same request. */
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
        // It has answered, or was given all the time there was.
        if (!member.health.isDown || performance.now() >= deadline) throw error
        last = error
      }
    }
    for (const { health } of ranked) void health.isBack()
    throw (
      last ??
      new SessionPgsqlError(
        'SERVER_DOWN',
        `None of the ${ranked.length} database servers can be reached. They are tried again by and by, and the first that answers is used.`,
      )
    )
  }

  async read(id: string, deadline: number): Promise<StoredSession | undefined> {
    const { stored, certain } = await this.ask(id, deadline, async (member, home) => {
      let found = await member.server.table.read(id, deadline)
      if (found === undefined && member === home && (await this.#fetch(id, home, deadline))) {
        found = await member.server.table.read(id, deadline)
      }
      return { stored: found && readFrom(member, found), certain: member === home }
    })
    if (stored !== undefined || certain) return stored
    // Another process may have seen that home is back before we did, and have brought it there.
    return (await this.#isHomeBack(id, deadline)) ? this.read(id, deadline) : undefined
  }

  /** Before a stand-in is believed that there is no such session. @throws SERVER_DOWN if that is not to be believed */
  async #isHomeBack(id: string, deadline: number): Promise<boolean> {
    const [home] = this.ranked(id)
    if (performance.now() < deadline && (await (home as Member).health.isBack())) return true
    if (this.#options.whenHomeIsDown === 'absent') return false
    throw new SessionPgsqlError(
      'SERVER_DOWN',
      'The database server of this session cannot be reached, and no other one knows the session (whenHomeIsDown: "error").',
    )
  }

  save(order: Save, deadline: number): Promise<Answer> {
    const { change, base } = order
    const { id } = change
    return this.ask(id, deadline, async (member, home) => {
      const { table } = member.server
      if (base === undefined) {
        const answer = await table.save(order, deadline)
        if (answer.outcome !== 'gone') return answered(member, answer)
        if (member !== home && (await this.#isHomeBack(id, deadline))) return this.save(order, deadline)
        const fetched = member === home && (await this.#fetch(id, home, deadline))
        return answered(member, fetched ? await table.save(order, deadline) : answer)
      }
      if (base.server === member.name) {
        const answer = await table.save(order, deadline)
        if (answer.outcome !== 'gone' || member === home) return answered(member, answer)
        // Destroyed, it would have left a tombstone: as a rule somebody has just brought it home.
        if (!home.health.isDown) return this.save(order, deadline)
      }
      if (member !== home)
        return answered(member, await this.#writeToFallback(member, home, change, base, deadline))
      const current = await this.#atHome(base, home, deadline)
      if (current === 'unknown') {
        return answered(member, await this.#writeToFallback(member, home, change, base, deadline))
      }
      if (current === undefined || !(await this.#isSameGeneration(current, base, home, deadline))) return GONE
      if (current.text !== base.text) return answered(member, { outcome: 'conflict', stored: current })
      return answered(member, await table.save({ change, base: current }, deadline))
    })
  }

  put(order: Put, deadline: number): Promise<Answer> {
    const { change, mustBeAbsent } = order
    return this.ask(change.id, deadline, async (member, home) => {
      const { table } = member.server
      if (member === home) {
        const answer = await table.put(order, deadline)
        // What it has replaced may lie with another, and must not be found there when this one is gone. Whatever
        // comes of that, it is written.
        if (answer.outcome === 'created' && !mustBeAbsent) {
          await this.#fetch(change.id, home, deadline).catch(() => false)
        }
        return answered(member, answer)
      }
      if (!canBeFallback(await table.open(deadline)))
        return answered(member, await table.put(order, deadline))
      const planted = await table.transaction(async (query, shape) => {
        const { row, clock } = await lockRowCopy(query, shape, change.id)
        const alive = row !== undefined && isAlive(row, clock) ? row : undefined
        if (alive !== undefined && mustBeAbsent) {
          return { outcome: 'conflict', stored: alive.session } as const
        }
        const now = Math.ceil(clock)
        const nothing = tombstone(change.id, undefined, null, clock).session
        const fresh: StoredSession = {
          ...nothing,
          name: change.name,
          created: now,
          addressCreated: change.address,
          generation: Math.floor(clock * 1e6),
        }
        const session = changed(alive?.session ?? fresh, change, clock, change.lifetime)
        const replaces = mustBeAbsent ? null : recordBase(nothing, { replaced: now })
        // After a destroy it is another life, and must not be laid over the old one.
        const base =
          row?.destroyed == null
            ? (alive?.base ?? replaces)
            : recordBase(row.session, { destroyed: row.destroyed })
        await writeRowCopy(query, shape, { session, home: home.name, base, received: null, destroyed: null })
        const { row: written } = await lockRowCopy(query, shape, change.id)
        const outcome = alive === undefined ? 'created' : 'updated'
        return { outcome, stored: (written as RowCopy).session } as const
      }, deadline)
      return answered(member, planted)
    })
  }

  touch(order: Touch, deadline: number): Promise<Answer> {
    const { id, base } = order
    return this.ask(id, deadline, async (member, home) => {
      const { table } = member.server
      if (base === undefined) {
        const answer = await table.touch(order, deadline)
        if (answer.outcome !== 'gone') return answer
        if (member !== home && (await this.#isHomeBack(id, deadline))) return this.touch(order, deadline)
        const fetched = member === home && (await this.#fetch(id, home, deadline))
        return fetched ? table.touch(order, deadline) : answer
      }
      if (base.server === member.name) {
        const answer = await table.touch(order, deadline)
        if (answer.outcome !== 'gone' || member === home) return answer
        if (!home.health.isDown) return this.touch(order, deadline)
      }
      if (member === home) {
        const current = await this.#atHome(base, home, deadline)
        if (current !== 'unknown') {
          if (current === undefined || !(await this.#isSameGeneration(current, base, home, deadline)))
            return GONE
          return table.touch({ ...order, base: current.text === base.text ? current : undefined }, deadline)
        }
      }
      const change: Change & { keepExpiry: boolean } = {
        id,
        text: base.text,
        lifetime: order.lifetime ?? 0,
        access: order.access,
        address: null,
        name: base.name ?? '',
        metadata: order.metadata,
        keepExpiry: order.lifetime === null,
      }
      const planted = await this.#writeToFallback(member, home, change, base, deadline)
      // Somebody has written there before: it is there, and need only be touched.
      if (planted.outcome === 'conflict') return table.touch({ ...order, base: undefined }, deadline)
      if (planted.outcome === 'gone' || planted.stored === undefined) return GONE
      return { outcome: 'touched', expires: planted.stored.expires, clock: planted.stored.clock }
    })
  }

  /** Leaves a tombstone: it beats what others may still bring. */
  destroy(id: string, deadline: number): Promise<Answer> {
    return this.ask(id, deadline, async (member, home) => {
      const { table } = member.server
      if (!canBeFallback(await table.open(deadline))) return table.destroy(id, deadline)
      const alive = await table.transaction(async (query, shape) => {
        const { row, clock } = await lockRowCopy(query, shape, id)
        const was = row !== undefined && isAlive(row, clock)
        await writeRowCopy(query, shape, tombstone(id, row, member === home ? null : home.name, clock))
        return was
      }, deadline)
      const elsewhere = !alive && member === home && (await this.#fetch(id, home, deadline))
      return { outcome: alive || elsewhere ? 'destroyed' : 'gone' }
    })
  }

  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    return this.ask(id, deadline, async (member) =>
      answered(
        member,
        await member.server.table.saveLocked(id, (current) => decide(readFrom(member, current)), deadline),
      ),
    )
  }

  replicated(id: string, deadline: number): Promise<void> {
    return this.ask(id, deadline, ({ server }) => server.table.replicated(id, deadline))
  }

  /**
   * What home does not have may lie with those next in rank: they stood in, or were the home until a server was
   * added.
   *
   * @returns whether something was there and has been brought
   */
  async #fetch(id: string, home: Member, deadline: number): Promise<boolean> {
    const others = this.ranked(id).filter((member) => member !== home && !member.health.isDown)
    // And those that are to be emptied, wherever they stand. All at once: who waits for them waits for all.
    const asked = others.filter(({ weight }, index) => index < NEXT || weight === 0)
    const lie = await Promise.all(
      asked.map(({ health, server }) =>
        health
          .run(() => server.table.read(id, deadline))
          // That it cannot be asked makes nothing of what home says wrong.
          .catch(() => undefined),
      ),
    )
    const place = asked.find((_, index) => lie[index] !== undefined)
    return place !== undefined && (await this.#options.homecoming().bring(id, place, home)) !== undefined
  }

  /** The session at home, after what another server had of it was brought there. `unknown`: that one is down. */
  async #atHome(
    base: StoredSession,
    home: Member,
    deadline: number,
  ): Promise<StoredSession | 'unknown' | undefined> {
    const from = this.#options.members.find(({ name }) => name === base.server)
    const reachable = from !== undefined && !from.health.isDown
    if (reachable) await this.#options.homecoming().bring(base.id, from, home)
    const current = await home.server.table.read(base.id, deadline)
    return current ?? (reachable ? undefined : 'unknown')
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
   * Writes a whole record where it was not read: its home is away, or was when it was read. Marked with where it
   * belongs and what it replaces there.
   */
  async #writeToFallback(
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
        'The database server of this session cannot be reached, and the table of the next one lacks the columns to stand in for it (sess_home, sess_base, sess_destroyed).',
      )
    }
    return table.transaction(async (query, shape): Promise<Answer> => {
      const { row, clock } = await lockRowCopy(query, shape, base.id)
      if (row?.destroyed != null && beats(row, base, row.base === null ? undefined : baseOf(row.base))) {
        return GONE
      }
      if (row !== undefined && row.destroyed === null && isAlive(row, clock - GRACE)) {
        if (row.session.generation !== base.generation) return GONE
        if (row.session.text !== base.text) return { outcome: 'conflict', stored: row.session }
      }
      const lifetime = change.keepExpiry ? null : change.lifetime
      const session = changed(base, change, clock, lifetime)
      const known = row !== undefined && row.destroyed === null
      const away = member === home ? null : home.name
      const mark = member === home ? null : known ? row.base : recordBase(base)
      const received = (member === home && known && row.received) || null
      await writeRowCopy(query, shape, { session, home: away, base: mark, received, destroyed: null })
      const { row: written } = await lockRowCopy(query, shape, base.id)
      return { outcome: 'updated', stored: (written as RowCopy).session }
    }, deadline)
  }
}

function readFrom({ name }: Member, stored: StoredSession): StoredSession {
  return { ...stored, server: name }
}

function answered(member: Member, answer: Answer): Answer {
  return answer.stored === undefined ? answer : { ...answer, stored: readFrom(member, answer.stored) }
}

function isAlive({ session: { expires }, destroyed }: RowCopy, clock: number): boolean {
  return destroyed === null && (expires === null || expires >= clock)
}

/** The record after a change, as the statements would leave it. @param lifetime null: the expiry stays */
function changed(base: StoredSession, change: Change, clock: number, lifetime: number | null): StoredSession {
  const metadata: MetadataUpdate = change.metadata ?? {}
  return {
    ...base,
    text: change.text,
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
