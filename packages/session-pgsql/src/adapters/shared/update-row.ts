import { applyChange, checkChange } from '../../apply-change.ts'
import type { UpdateOptions, UpdateResult } from '../../operations.ts'
import type { SaveHandler } from '../../save-handler.ts'
import type { SessionRecord } from '../../session/record.ts'
import { keysOf, moveTo, type SessionView, type Stored, setKey, withhold } from './session-data.ts'

/** The result of an update of a request's session. */
export interface SessionUpdate<Value> {
  /**
   * - `updated`: the result of the function was stored
   * - `created`: the same, and the session was not stored before
   * - `skipped`: the session is not stored yet, the function has set nothing, and nothing was stored
   * - `gone`: the session was destroyed or has expired, and the function has had no effect
   */
  readonly outcome: 'updated' | 'created' | 'skipped' | 'gone'
  /** What the function returned, in the call whose result was stored; undefined if the outcome is `gone`. */
  readonly value: Value | undefined
}

export interface RowUpdate extends UpdateOptions<Stored> {
  /** The record from which the session object was made; undefined if the session was not stored. */
  readonly record: SessionRecord<Stored> | undefined
  /** The data from which the session object was made, where it differs from the record's. */
  readonly seen: Stored | undefined
  /** The session object, which is taken to the result. Default: it stays as it is. */
  readonly view: SessionView | undefined
  /** Called with the stored data before each call of the function. What it throws ends the update. */
  readonly check?: ((stored: Stored) => void) | undefined
  /**
   * Called when the session object has received the result. Not called if it has not: the former base and `seen` of
   * the session object then still apply.
   */
  readonly adopt: (result: AdoptedUpdate) => void
}

/** What an update leaves for the next write of the session object. */
export interface AdoptedUpdate {
  /** The `base` of the next write. */
  readonly session: SessionRecord<Stored>
  /** The `seen` of the next write. */
  readonly seen: Stored
  /** Does to data that was captured before what was done to the session object; undefined without a view. */
  readonly rebase: ((data: Stored) => Stored) | undefined
}

/**
 * Applies a function to the keys of a stored session that the session object shows, and takes the object to the
 * result.
 *
 * What the object has not saved is kept: it is merged, first into the changes of other requests and then with the
 * function's, which came later than it. The function's change of a scalar therefore stands.
 */
export async function updateRow<Value>(
  sessions: Pick<SaveHandler<Stored>, 'snapshot' | 'merge' | 'update'>,
  id: string,
  change: (data: Stored) => Value,
  { record, seen, view, check, adopt, ...options }: RowUpdate,
): Promise<SessionUpdate<Value>> {
  checkChange(change)
  // Data that cannot be stored is an error before anything is, not after it.
  if (view !== undefined) sessions.snapshot(view.data())
  const isHidden = (key: string): boolean => view?.isHidden(key) ?? false
  let before: Stored = {}

  /** Returns the value in an array, which cannot be taken for new data. */
  const apply = (stored: Stored): readonly [Value] => {
    keysOf({ data: stored })
    check?.(stored)
    before = sessions.snapshot(stored)
    const isNew = options.base === null && isEmpty(stored)
    const hidden = withhold(isNew ? { ...view?.data() } : stored, isHidden)
    const { data, value } = applyChange(change, stored, () => {
      const copy = sessions.snapshot(before)
      withhold(copy, isHidden)
      return copy
    })
    if (data !== stored) {
      for (const key of Object.keys(stored)) delete stored[key]
      assign(stored, data)
    }
    withhold(stored, isHidden)
    if (isNew && isEmpty(stored)) throw new NothingToStore(value)
    assign(stored, hidden)
    return [value]
  }

  let result: UpdateResult<Stored, readonly [Value]>
  try {
    result = await sessions.update(id, apply, options)
  } catch (error) {
    if (error instanceof NothingToStore) return { outcome: 'skipped', value: error.value as Value }
    throw error
  }
  const { session } = result
  if (session === undefined) return { outcome: 'gone', value: undefined }
  const updated = {
    outcome: result.outcome === 'created' ? 'created' : 'updated',
    value: result.value?.[0],
  } as const
  // Another request has logged in as another user: their data is not mixed with what this request has not saved.
  if (record !== undefined && record.custom !== session.custom) return updated

  const started = (): Stored => sessions.snapshot(seen ?? record ?? {})
  if (view === undefined) {
    adopt({ session, seen: started(), rebase: undefined })
    return updated
  }
  // Copies: the session object shares parts with the result of a merge.
  const rebase = (data: Stored): Stored => {
    const withTheirs = sessions.merge(data, sessions.snapshot(before), started())
    return sessions.merge(sessions.snapshot(session), withTheirs, before)
  }
  const from = sessions.snapshot(view.data())
  moveTo(view, from, rebase(sessions.snapshot(from)))
  const after = sessions.snapshot(session)
  adopt({ session, seen: record === undefined ? after : withHiddenOf(started(), after, isHidden), rebase })
  return updated
}

/** Ends an update that would create an empty session. */
class NothingToStore extends Error {
  readonly value: unknown

  constructor(value: unknown) {
    super('Nothing to store')
    this.value = value
  }
}

/** Returns the data with the hidden keys of `other`: the session object holds these still. */
function withHiddenOf(other: Stored, data: Stored, isHidden: (key: string) => boolean): Stored {
  const entries: [string, unknown][] = []
  for (const [key, value] of Object.entries(data)) {
    if (!isHidden(key)) entries.push([key, value])
    else if (Object.hasOwn(other, key)) entries.push([key, other[key]])
  }
  return { ...Object.fromEntries(entries), ...withhold(other, isHidden) }
}

function assign(target: Stored, source: Stored): void {
  for (const [key, value] of Object.entries(source)) setKey(target, key, value)
}

function isEmpty(data: Stored): boolean {
  return Object.keys(data).length === 0
}
