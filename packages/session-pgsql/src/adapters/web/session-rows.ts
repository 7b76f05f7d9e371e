import { isDeepStrictEqual } from 'node:util'
import type { WriteResult } from '../../operations.ts'
import type { ListedSessions, SaveHandler } from '../../save-handler.ts'
import type { SessionRecord } from '../../session/record.ts'
import { isHashedId } from '../../session/stored-id.ts'
import { type RowUpdate, type SessionUpdate, updateRow } from '../shared/update-row.ts'
import {
  applicationData,
  type IdChanges,
  idChangesOf,
  isLeaving,
  otherIds,
  RESERVED,
  type Stored,
} from './id-changes.ts'

/** Seconds beyond the grace period that the row of an old id is kept: requests in progress find the new id there. */
const REQUEST_TIME = 60

export interface RowsContext {
  readonly sessions: SaveHandler<Stored>
  readonly address: string | undefined
  readonly name: string
  /** Seconds. */
  readonly lifetime: number
  /** Seconds. */
  readonly grace: number
}

/** Writes the rows of one request's session, which has several while its id changes. Counts one access. */
export class SessionRows {
  readonly #sessions: SaveHandler<Stored>
  readonly #context: RowsContext
  #isCounted = false

  constructor(context: RowsContext) {
    this.#sessions = context.sessions
    this.#context = context
  }

  /** @param id the id, or the stored form of it that another row contains; so for the other methods */
  async write(
    id: string,
    data: Stored,
    options: {
      base: SessionRecord<Stored> | null | undefined
      seen?: Stored | undefined
      custom?: string | null | undefined
      counts?: boolean
      since?: SessionRecord<Stored> | undefined
    },
  ): Promise<WriteResult<Stored>> {
    const { base, custom, counts = true, seen, since } = options
    const result = await this.#by(id).write(id, data, {
      ...this.#options(),
      base: base ?? null,
      seen,
      custom,
      since,
      access: counts && !this.#isCounted,
    })
    if (counts && result.outcome !== 'skipped') this.#isCounted = true
    return result
  }

  /** Applies a function to a row; see `updateRow`. */
  async update<Value>(
    id: string,
    change: (data: Stored) => Value,
    options: Pick<RowUpdate, 'base' | 'check' | 'record' | 'seen' | 'view' | 'adopt'>,
  ): Promise<SessionUpdate<Value>> {
    const access = !this.#isCounted
    const updated = await updateRow(this.#by(id), id, change, { ...this.#options(), access, ...options })
    if (updated.outcome === 'created' || updated.outcome === 'updated') this.#isCounted = true
    return updated
  }

  /**
   * Applies to the new id what other requests have changed under the old id since it was read, until the old row says
   * that nothing is left. From then on these requests change the new row themselves: each change is applied once.
   *
   * @returns false if the session was destroyed
   */
  async handOver(old: SessionRecord<Stored>, id: string): Promise<boolean> {
    let known = old.data
    for (;;) {
      const { session, value: isDone } = await this.#sessions.update(
        old.id,
        (data) => {
          if (!isDeepStrictEqual(applicationData(data), applicationData(known))) return false
          data[RESERVED] = { ...data[RESERVED], moved: { ...data[RESERVED]?.moved, [id]: true } }
          return true
        },
        { ...this.#options(), base: old, access: false },
      )
      if (session === undefined || idChangesOf(session).ended) return false
      if (isDone) return true
      await this.forward(id, session.data, known)
      known = session.data
    }
  }

  /**
   * Removes the data under an old id that has no grace period. The row stays for requests in progress: a sign-out with
   * the old id must find the new one.
   */
  async leaveOnlyTheNewId(oldId: string): Promise<void> {
    const withoutData = (data: Stored): Stored => ({ [RESERVED]: data[RESERVED] as IdChanges })
    await this.#sessions.update(oldId, withoutData, { ...this.#options(), custom: null, access: false })
  }

  /** Applies the difference between `ours` and `base`, which was written under the old id, to the new id. */
  async forward(id: string, ours: Stored, base: Stored): Promise<void> {
    if (isDeepStrictEqual(applicationData(ours), applicationData(base))) return
    const record = await this.#by(id).read(id)
    if (record === undefined) return
    const reserved = record.data[RESERVED] === undefined ? {} : { [RESERVED]: record.data[RESERVED] }
    await this.write(
      id,
      { ...applicationData(ours), ...reserved },
      {
        base: record,
        seen: { ...applicationData(base), ...reserved },
        counts: false,
      },
    )
  }

  /** Marks the session as ended, because another request may be changing its id, and destroys it under all its ids. */
  async destroy(record: SessionRecord<Stored>): Promise<void> {
    const { data } = record
    const { session } = await this.write(
      record.id,
      { ...data, [RESERVED]: { ...data[RESERVED], ended: true } },
      { base: record, seen: data, counts: false },
    )
    const ids = [record.id, ...otherIds(idChangesOf(session ?? record))]
    for (const id of ids) await this.#by(id).destroy(id)
  }

  /** Returns what takes an id, or its hashed form. A plain form is the id itself, also if the row was hashed since. */
  #by(id: string): ListedSessions<Stored> | SaveHandler<Stored> {
    return isHashedId(id) ? this.#sessions.listed : this.#sessions
  }

  #options(): Pick<RowUpdate, 'lifetime' | 'address' | 'name'> {
    const { address, grace, lifetime, name } = this.#context
    return {
      lifetime: (stored: Stored) => (isLeaving(stored[RESERVED]) ? grace + REQUEST_TIME : lifetime),
      address,
      name,
    }
  }
}
