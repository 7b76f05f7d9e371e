import type { Destroy } from '../session/ended.ts'
import { beganByClock } from '../session/lifetime.ts'
import {
  type Change,
  firstVersion,
  isSameBranch,
  type MetadataUpdate,
  remaining,
  type StoredSession,
  type Touch,
} from '../session/stored.ts'
import { announceEnd } from '../table/announcements.ts'
import { type Answer, GONE } from '../table/answers.ts'
import type { Put, Save } from '../table/requests.ts'
import {
  AT_HOME,
  canBeFallback,
  changeRowCopy,
  type Decision,
  type LockedRow,
  type LostChange,
  lockRowCopy,
  type RowCopy,
  recordBase,
  recordedBaseOf,
} from '../table/row-copies.ts'
import type { StoredSessions } from '../table/stored-sessions.ts'
import { emptySession, longestLifetime, tombstone, UNKNOWN_TIME } from '../table/tombstones.ts'
import type { Member, Ranking } from './member.ts'
import { type SessionRouter, serverDown } from './session-router.ts'
import { caughtUp, containsOf, isMerged, type MergeTexts, supersedes } from './settle.ts'
import type { ColumnFunctions } from './settled-columns.ts'

/** Milliseconds for which the longest lifetime in use on a server is remembered. */
const LIFETIME_REMEMBERED = 60_000

/** A change that may have to be repeated on another server. */
interface Repeatable {
  readonly change: Change
  /** Whether a server that was asked before may have made it. */
  readonly mayBeDone: boolean
}

/** The answer of a server that knows that the session has ended. */
const ENDED: Answer = { outcome: 'gone' }

const isAbsent = (answer: Answer): boolean => answer.outcome === 'gone' && answer !== ENDED

/**
 * Sessions sharded over several independent servers. Each session has a home server. While that is down, the next
 * server in rank is the fallback: the rows that it stores name their home server, and are moved back later. A record
 * remembers the server that it was read from.
 */
export class ShardedSessions implements StoredSessions {
  readonly #router: SessionRouter
  readonly #gcMaxlifetime: number
  readonly #expiryGrace: number
  readonly #columns: ColumnFunctions
  readonly #merge: MergeTexts
  readonly #lifetimes = new Map<Member, { readonly seconds: Promise<number>; readonly until: number }>()

  /**
   * @param settings seconds: that a session lives by default, and for which it may be saved after its expiry; how
   * columns are computed, and versions of two servers merged
   */
  constructor(
    router: SessionRouter,
    settings: {
      readonly columns: ColumnFunctions
      readonly merge: MergeTexts
      readonly gcMaxlifetime: number
      readonly expiryGrace: number
    },
  ) {
    this.#router = router
    this.#gcMaxlifetime = settings.gcMaxlifetime
    this.#expiryGrace = settings.expiryGrace
    this.#columns = settings.columns
    this.#merge = settings.merge
  }

  read(id: string, deadline: number, known?: StoredSession): Promise<StoredSession | undefined> {
    return this.#router.run({
      ...{ id, deadline },
      async work(member, [home]) {
        const found = await member.server.sessions.read(id, deadline)
        if (found === undefined) return member === home ? undefined : known
        return { ...found, server: member.name }
      },
      isAbsent: (found) => found === undefined,
    })
  }

  save(request: Save, deadline: number): Promise<Answer> {
    return this.#router.run({
      ...{ id: request.change.id, deadline, isAbsent },
      work: async (member, ranked, mayBeDone) =>
        answerFrom(member, await this.#saveOn(member, ranked, request, mayBeDone, deadline)),
    })
  }

  #saveOn(
    member: Member,
    ranked: Ranking,
    request: Save,
    mayBeDone: boolean,
    deadline: number,
  ): Promise<Answer> {
    const { change, base } = request
    const { sessions } = member.server
    if (base === undefined) {
      return member === ranked[0]
        ? sessions.save(request, deadline)
        : this.#replace(member, ranked, change, 'existing', deadline)
    }
    return this.#continue(member, ranked, base, { change, mayBeDone }, deadline, async (current) =>
      current.text === base.text
        ? sessions.save({ change, base: current }, deadline)
        : { outcome: 'conflict', stored: current },
    )
  }

  put(request: Put, deadline: number): Promise<Answer> {
    const { change, mustBeAbsent } = request
    const { id } = change
    return this.#router.run({
      ...{ id, deadline },
      work: async (member, ranked) => {
        const [home, ...others] = ranked
        const expected = mustBeAbsent ? 'absent' : 'anything'
        if (
          member === home &&
          !mustBeAbsent &&
          (await home.server.sessions.read(id, deadline)) === undefined
        ) {
          // The session that it replaces may be on another server. Moved home later, it would be merged over this one.
          // This write does not depend on a second server.
          await this.#router.moveHome({ id, deadline }, ranked, others, 'a session').catch(() => {})
        }
        const answer =
          member === home
            ? await member.server.sessions.put({ ...request, change: sinceAt(member, change) }, deadline)
            : await this.#replace(member, ranked, change, expected, deadline)
        return answerFrom(member, answer)
      },
      isAbsent: () => false,
      // A new session does not depend on a second server.
      ...(mustBeAbsent ? { whenUnknown: 'absent' } : {}),
    })
  }

  touch(request: Touch, deadline: number): Promise<Answer> {
    const { id, base, lifetime } = request
    return this.#router.run({
      ...{ id, deadline, isAbsent },
      work: async (member, ranked, mayBeDone) => {
        const { sessions } = member.server
        if (base === undefined) return sessions.touch(request, deadline)
        const touchAfter = (current: StoredSession): Promise<Answer> =>
          sessions.touch({ ...request, base: current.text === base.text ? current : undefined }, deadline)
        const change: Change = {
          ...request,
          ...{ text: base.text, address: null, name: base.name ?? '' },
          lifetime: lifetime ?? Math.max(0, remaining(base)),
        }
        const answer = await this.#continue(member, ranked, base, { change, mayBeDone }, deadline, touchAfter)
        if (answer.stored === undefined) return answer
        const { expires, clock } = answer.stored
        return { outcome: 'touched', expires, clock }
      },
    })
  }

  /**
   * Leaves a tombstone, which supersedes what other servers may still move back. None is left if every server that may
   * have the session has answered, and none has it.
   */
  destroy({ id, reason }: Destroy, deadline: number): Promise<Answer> {
    return this.#router.run({
      ...{ id, deadline, isAbsent },
      work: async (member, ranked) => {
        const [home] = ranked
        const { table, sessions } = member.server
        if (!canBeFallback(await table.open(deadline))) return sessions.destroy({ id, reason }, deadline)
        const lifetime = await this.#longestLifetime(member, deadline)
        const destroy = ({ row, clock }: LockedRow): Decision<Answer> => {
          const mayBeElsewhere = ranked.some(
            (other) =>
              other !== home &&
              other !== member &&
              other.health.isDown &&
              this.#router.mayHave(other, ranked),
          )
          const isNothing = row === undefined || row.destroyed !== null
          if (isNothing && member === home && !mayBeElsewhere) return { answer: GONE }
          const at =
            member === home
              ? { home: null, destroyed: Math.ceil(clock) }
              : { home: home.name, destroyed: timeAt(home) }
          return {
            next: tombstone(id, row, { ...at, clock, mayBeElsewhere, lifetime }),
            answer: row !== undefined && isAlive(row, clock) ? { outcome: 'destroyed' } : GONE,
          }
        }
        return table.announcing((announce) =>
          table.transaction(async (query, shape) => {
            let custom: string | null | undefined
            const { answer } = await changeRowCopy(query, shape, id, (locked) => {
              const decision = destroy(locked)
              custom = decision.next && (locked.row?.session.custom ?? null)
              return decision
            })
            // Also without a row: a server that is down may have the session that the tombstone ends.
            if (announce && custom !== undefined) await announceEnd(query, shape.name, { id, custom, reason })
            return answer
          }, deadline),
        )
      },
      // A logout does not depend on a second server: the tombstone ends what that server has.
      whenUnknown: 'absent',
    })
  }

  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
    known?: StoredSession,
  ): Promise<Answer> {
    let isFound = false
    return this.#router.run({
      ...{ id, deadline },
      work: async (member, ranked, mayBeDone) => {
        const [home] = ranked
        let read = known
        const decideHere = async (current: StoredSession): Promise<Save | undefined> => {
          const isOtherRow = read?.server === member.name && !isSameBranch(current, read)
          if (isOtherRow && member !== home) return undefined
          isFound = true
          return decide({ ...current, server: member.name })
        }
        for (;;) {
          isFound = false
          const answer = await member.server.sessions.saveLocked(id, decideHere, deadline)
          if (isFound || member === home || read === undefined) return answerFrom(member, answer)
          const request = await decide(read)
          if (request === undefined) return ENDED
          const saved = answerFrom(member, await this.#saveOn(member, ranked, request, mayBeDone, deadline))
          if (saved.outcome !== 'conflict') return saved
          // Another request has written the session there.
          read = saved.stored
        }
      },
      isAbsent: (answer) => isAbsent(answer) && !isFound,
    })
  }

  replicated(id: string, deadline: number): Promise<void> {
    return this.#router.ask(id, deadline, ({ health, server }) =>
      health.run(() => server.sessions.replicated(id, deadline)),
    )
  }

  /**
   * Changes a session that the caller has read as `base`, perhaps on another server.
   *
   * @param repeatable what to write if the server does not have the session
   * @param changeRow changes the row that the server has
   */
  async #continue(
    member: Member,
    ranked: Ranking,
    base: StoredSession,
    repeatable: Repeatable,
    deadline: number,
    changeRow: (current: StoredSession) => Promise<Answer>,
  ): Promise<Answer> {
    const [home, ...others] = ranked
    if (base.server === member.name) {
      const answer = await changeRow(base)
      const { outcome, stored } = answer
      const isOtherRow = outcome === 'conflict' && stored !== undefined && !isSameBranch(stored, base)
      if ((outcome !== 'gone' && !isOtherRow) || member === home) return answer
      // A destroy would have left a tombstone, which is found below. Usually the row has just been moved back.
      if (await home.health.isBack()) return GONE
    } else if (member === home) {
      const current = await home.server.sessions.read(base.id, deadline)
      if (current !== undefined) {
        return (await this.#isSameGeneration(current, base, home, deadline)) ? changeRow(current) : GONE
      }
      const from = others.find(({ name }) => name === base.server)
      if (from !== undefined && !from.health.isDown) return GONE
    }
    const answer = await this.#writeRecord(member, home, repeatable, base, deadline)
    return answer.outcome === 'conflict' ? changeRow(answer.stored as StoredSession) : answer
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
    { server: { table, sessions } }: Member,
    [home]: Ranking,
    change: Change,
    expected: 'absent' | 'existing' | 'anything',
    deadline: number,
  ): Promise<Answer> {
    if (!canBeFallback(await table.open(deadline))) {
      return expected === 'existing'
        ? sessions.save({ change, base: undefined }, deadline)
        : sessions.put({ change, mustBeAbsent: expected === 'absent' }, deadline)
    }
    const { id, name, address } = change
    const replace = ({ row, clock }: LockedRow): Decision<Answer> => {
      const alive = row !== undefined && isAlive(row, clock) ? row : undefined
      if (alive === undefined && expected === 'existing') return { answer: GONE }
      if (alive !== undefined && expected === 'absent') return { answer: { outcome: 'conflict' } }
      const empty = emptySession(id, clock)
      const began = (change.since && beganByClock(change.since, clock)) ?? Math.ceil(clock)
      const created = { ...empty, ...beginning(home, clock), began, name, addressCreated: address }
      const session = changed(alive?.session ?? created, change, clock)
      const replaced = expected === 'absent' ? null : recordBase(empty, { replaced: timeAt(home) })
      // After a destroy this is a new generation, and must not be merged with the old one.
      const base =
        row?.destroyed == null
          ? (alive?.base ?? replaced)
          : recordBase(row.session, { destroyed: row.destroyed })
      return {
        next: { ...AT_HOME, session, home: home.name, base, computed: change.columns },
        answer: { outcome: alive === undefined ? 'created' : 'updated' },
      }
    }
    return table.transaction(async (query, shape) => {
      const { answer, stored } = await changeRowCopy(query, shape, id, replace)
      return answer === GONE ? GONE : withStored(answer, stored)
    }, deadline)
  }

  /**
   * Writes a whole record to a server from which it was not read, because its server is or was down. On a fallback
   * server, the row names its home server and what it replaces there.
   *
   * @returns `conflict` with the stored session if the server has it
   */
  async #writeRecord(
    member: Member,
    home: Member,
    { change, mayBeDone }: Repeatable,
    base: StoredSession,
    deadline: number,
  ): Promise<Answer> {
    const { table } = member.server
    if (!canBeFallback(await table.open(deadline))) {
      throw serverDown(
        `the home server of this session, ${home.name}, and the session table on ${member.name} lacks the columns of a fallback server (sess_home, sess_base, sess_destroyed). Add them with: session-pgsql init.`,
      )
    }
    const write = async ({ row, clock }: LockedRow): Promise<Decision<Answer>> => {
      if (row?.destroyed != null) {
        if (supersedes(row, base, recordedBaseOf(row))) return { answer: ENDED }
      } else if (row !== undefined && isAlive(row, clock - this.#expiryGrace)) {
        if (row.session.generation !== base.generation) return { answer: ENDED }
        const contained = containsOf(row, base, home.name)
        if (contained === 'unknown') {
          throw serverDown(
            `the home server of this session, ${home.name}. The session was moved there since this request read it, and ${member.name} has changes to an earlier version. Read the session again.`,
          )
        }
        if (contained === 'all') return { answer: { outcome: 'conflict' } }
        const current = await caughtUp(row, base, this.#merge)
        const next = { ...current, computed: this.#columns.of(current.session.text) }
        return { next, answer: { outcome: 'conflict' } }
      }
      // An expired session is not brought back.
      if (remaining(base) < -this.#expiryGrace) return { answer: ENDED }
      const began = base.server === member.name ? base.began : beganByClock(base, clock)
      const branch = member === home ? {} : { version: firstVersion() }
      const session = { ...changed(base, change, clock), began, ...branch }
      const replaced = recordBase(base, mayBeDone ? { lost: appliedOf(session) } : {})
      const marks = member === home ? {} : { home: home.name, base: replaced }
      // A touch brings no columns.
      const computed = change.columns ?? this.#columns.of(change.text)
      const next = { ...AT_HOME, session, ...marks, computed }
      return { next, answer: { outcome: 'updated' } }
    }
    return table.transaction(async (query, shape) => {
      const { answer, stored } = await changeRowCopy(query, shape, base.id, write)
      return answer === ENDED ? ENDED : withStored(answer, stored)
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
    return Math.max(await known.seconds, this.#gcMaxlifetime)
  }
}

function withStored(answer: Answer, row: RowCopy | undefined): Answer {
  return row === undefined ? answer : { ...answer, stored: row.session }
}

function answerFrom({ name }: Member, answer: Answer): Answer {
  return answer.stored === undefined ? answer : { ...answer, stored: { ...answer.stored, server: name } }
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

/** Returns the change with the beginning of the session that it continues by the clock of a server. */
function sinceAt({ name, server }: Member, change: Change): Change {
  const { since } = change
  const clock = server.table.knownClock
  if (since === undefined || since.server === name || clock === undefined) return change
  return { ...change, since: { ...since, began: beganByClock(since, clock) } }
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

/** Returns what a change leaves at home if it was applied there and its answer was lost. */
function appliedOf({ text, accesses, errors, warnings, notices }: StoredSession): LostChange {
  return { text, accesses, errors, warnings, notices }
}
