import { isDeepStrictEqual } from 'node:util'
import { checkChange } from '../apply-change.ts'
import type { Codec, MergingCodec } from '../codec/codec.ts'
import {
  type DestroyMessage,
  isTraced,
  type ReadMessage,
  type TouchMessage,
  traced,
  tracing,
} from '../diagnostics.ts'
import { invalid, SessionPgsqlError } from '../errors.ts'
import type {
  TouchOptions,
  UpdateOptions,
  UpdateResult,
  WriteOptions,
  WriteOutcome,
  WriteResult,
} from '../operations.ts'
import type { Servers } from '../servers/servers.ts'
import { checkLifetime, checkText, metadataOf } from '../session/checks.ts'
import type { Columns } from '../session/columns.ts'
import type { EndReason } from '../session/ended.ts'
import { endOf } from '../session/lifetime.ts'
import { SessionRecord } from '../session/record.ts'
import {
  type Change,
  type ColumnTexts,
  clockNow,
  type MetadataUpdate,
  remaining,
  type StoredSession,
  type Touch,
} from '../session/stored.ts'
import { hashedId, isHashedId, StoredId, storedForm } from '../session/stored-id.ts'
import type { Settings } from '../settings/settings.ts'
import type { Answer } from '../table/answers.ts'
import type { Admission } from './admission.ts'
import type { Events } from './events.ts'
import { type IdQueue, IdQueues } from './id-queue.ts'
import { update } from './update.ts'
import { again, destroy, settleApart, write } from './write.ts'

/** A session by its id, or by the stored form of its id. */
type Name = string | StoredId

type TouchOutcome = NonNullable<TouchMessage['outcome']>

export interface SessionsOptions<Data> {
  readonly settings: Settings<Data>
  readonly codec: MergingCodec<Data>
  readonly servers: Servers
  readonly admission: Admission
  readonly events: Events
  /** The save handler, for diagnostics. */
  readonly handler: object
  /** Called after each operation on a session. */
  readonly onAccess: () => void
}

/** The operations on one session: read, write, touch and destroy, in the order of the calls for each id. */
export class Sessions<Data> {
  readonly #settings: Settings<Data>
  readonly #codec: MergingCodec<Data>
  readonly #servers: Servers
  readonly #admission: Admission
  readonly #events: Events
  readonly #handler: object
  readonly #onAccess: () => void
  readonly #queues: IdQueues = new IdQueues()
  /** Whether the queues' keys are hashed ids: the table may have an id in either form. Otherwise keys are plain ids. */
  #hashesKeys: boolean
  /** Whether the codec encodes the same data to the same text. Undefined until the first write that has to know it. */
  #codecRepeats: boolean | undefined

  constructor(options: SessionsOptions<Data>) {
    this.#settings = options.settings
    this.#codec = options.codec
    this.#servers = options.servers
    this.#admission = options.admission
    this.#events = options.events
    this.#handler = options.handler
    this.#onAccess = options.onAccess
    this.#hashesKeys = options.settings.ids !== 'plain'
  }

  /** See `SaveHandler.read`. */
  async read(id: Name): Promise<SessionRecord<Data> | undefined> {
    const stored = await this.readStored(id)
    const { columns, maxLifetime } = this.#settings
    return stored && new SessionRecord(stored, this.#codec, maxLifetime, columns, textOf(id))
  }

  /** Reads a session without decoding its data. */
  readStored(id: Name): Promise<StoredSession | undefined> {
    if (!isTraced(tracing.read)) return this.#read(id)
    return traced(
      tracing.read,
      { handler: this.#handler },
      () => this.#read(id),
      (stored): Partial<ReadMessage> => ({ outcome: stored === undefined ? 'absent' : 'found' }),
    )
  }

  /** See `SaveHandler.write`. */
  write(id: Name, data: Data, options: WriteOptions<Data>): Promise<WriteResult<Data>> {
    if (!isTraced(tracing.write)) return this.#write(id, data, options)
    return traced(
      tracing.write,
      { handler: this.#handler },
      () => this.#write(id, data, options),
      ({ outcome }) => ({ outcome }),
    )
  }

  /** See `SaveHandler.update`. */
  update<Value>(
    id: Name,
    apply: (data: Data) => Value,
    options: UpdateOptions<Data>,
  ): Promise<UpdateResult<Data, Value>> {
    if (!isTraced(tracing.write)) return this.#update(id, apply, options)
    return traced(
      tracing.write,
      { handler: this.#handler },
      () => this.#update(id, apply, options),
      ({ outcome }) => ({ outcome }),
    )
  }

  /** See `SaveHandler.snapshot`. */
  snapshot(data: Data | SessionRecord<Data>): Data {
    const stored = SessionRecord.stored(data)
    return this.#codec.decode(stored === undefined ? this.#codec.encode(data as Data) : stored.text)
  }

  /** See `SaveHandler.merge`. */
  merge(ours: Data, theirs: Data, base: Data): Data {
    return this.#codec.merge(ours, theirs, base)
  }

  /** See `SaveHandler.touch`. */
  touch(id: string, options: TouchOptions<Data>): Promise<boolean> {
    return this.#tracedTouch(() => this.#touch(id, options))
  }

  /** Records the custom field or errors. Returns true if the session exists. */
  async updateMetadata(id: string, metadata: MetadataUpdate | undefined): Promise<boolean> {
    if (!this.isId(id)) return false
    return this.#tracedTouch(async () => {
      const answer = await this.#sendTouch(id, { lifetime: null, access: false, metadata, base: undefined })
      return answer.outcome === 'touched' ? 'touched' : 'absent'
    })
  }

  /** See `SaveHandler.destroy`. Does not check the id: listed sessions may have ids of other writers. */
  destroy(id: Name, reason: EndReason = 'destroyed'): Promise<boolean> {
    if (!isTraced(tracing.destroy)) return this.#destroy(id, reason)
    return traced(
      tracing.destroy,
      { handler: this.#handler },
      () => this.#destroy(id, reason),
      (found): Partial<DestroyMessage> => ({ outcome: found ? 'destroyed' : 'absent' }),
    )
  }

  /** Returns the values of the computed columns for encoded data. @throws INVALID_DATA, UNDECODABLE */
  columnsOf(text: string): ColumnTexts | undefined {
    return this.#settings.columns.textsOf(() => this.#codec.decode(text))
  }

  /** Merges two versions of a session that two servers hold, at failback. */
  settleApart(ours: string, theirs: string, base: string, ofTwoUsers: boolean): Promise<string> {
    const difference = {
      text: ours,
      seen: base,
      codec: this.#codec,
      conflict: this.#settings.conflict,
      deadline: this.#deadline(),
    }
    return settleApart(difference, theirs, ofTwoUsers, (error) => this.#events.report(error))
  }

  /** Returns true if this can be a session id. @throws INVALID_ID if it is not a string */
  isId(id: unknown): id is string {
    if (typeof id !== 'string') {
      throw new SessionPgsqlError(
        'INVALID_ID',
        `Expected the session id to be a string; received ${typeof id}.`,
      )
    }
    return !isHashedId(id) && this.#settings.idPattern.test(id)
  }

  /** From now on the table may have an id in either form: operations on both take turns. */
  hashKeys(): void {
    if (this.#hashesKeys) return
    this.#hashesKeys = true
    this.#queues.rekey(hashedId)
  }

  /** @throws INVALID_ID */
  demandId(id: unknown): asserts id is string {
    if (this.isId(id)) return
    if (isHashedId(id as string)) {
      throw new SessionPgsqlError(
        'INVALID_ID',
        'Invalid session id: it begins with "h1:", as the stored form of a hashed id does. Pass the id itself.',
      )
    }
    throw new SessionPgsqlError(
      'INVALID_ID',
      `Invalid session id: expected it to match ${this.#settings.idPattern} (option idPattern); received ${(id as string).length} characters.`,
    )
  }

  async #read(id: Name): Promise<StoredSession | undefined> {
    if (!(id instanceof StoredId || this.isId(id))) return undefined
    this.#admission.begin(0)
    try {
      const { starting } = this.#servers
      if (starting !== undefined) await starting
      const deadline = this.#deadline()
      const form = this.#formOf(id)
      return await this.#queues.read(this.#keyOf(form), () =>
        again(() => this.#servers.sessions.read(form, deadline)),
      )
    } finally {
      this.#end(0)
    }
  }

  async #write(name: Name, data: Data, options: WriteOptions<Data>): Promise<WriteResult<Data>> {
    // Everything is captured before the first await: what the caller changes afterwards is not written.
    if (!(name instanceof StoredId)) this.demandId(name)
    const id = textOf(name)
    const form = this.#formOf(name)
    const text = this.#codec.encode(data)
    const base = this.#baseOf(form, options.base)
    const seen = options.seen === undefined ? (base?.text ?? '') : this.#codec.encode(options.seen)
    const { access = true, conflict } = options
    if (conflict !== undefined && conflict !== 'error') throw invalid("Expected conflict to be 'error'.")
    const metadata = metadataOf(options)
    const lifetimeOf = this.#lifetimeOf(options.lifetime)
    const lifetime = lifetimeOf(data)
    const change = this.#changeOf(form, options, metadata)

    const { custom } = metadata ?? {}
    const isUnchanged = custom === undefined || custom === base?.custom
    if (base !== undefined && this.#settings.shortCircuit && isUnchanged && this.#isSame(data, text, seen)) {
      const { outcome, stored } = await this.#refresh(name, base, { lifetime, access, metadata })
      return this.#result(outcome, stored, text, id)
    }
    const written = await this.#operate(form, text.length, (queue, deadline) =>
      write(this.#servers.sessions, queue, {
        id: form,
        text,
        seen,
        base: base ?? (options.base as null | 'existing' | undefined),
        custom,
        change: (next) => change(next, next === text ? lifetime : lifetimeOf(this.#codec.decode(next))),
        codec: this.#codec,
        conflict: conflict ?? this.#settings.conflict,
        deadline,
        onConflict: () => this.#events.emit('conflict', { id }),
      }),
    )
    if (written.outcome === 'gone') this.#events.emit('gone', { id })
    return this.#result(written.outcome, written.stored, text, id)
  }

  async #update<Value>(
    name: Name,
    apply: (data: Data) => Value,
    options: UpdateOptions<Data>,
  ): Promise<UpdateResult<Data, Value>> {
    if (!(name instanceof StoredId)) this.demandId(name)
    const id = textOf(name)
    const form = this.#formOf(name)
    checkChange(apply)
    const lifetimeOf = this.#lifetimeOf(options.lifetime)
    const change = this.#changeOf(form, options, metadataOf(options))
    const base = options.base === null ? null : this.#baseOf(form, options.base)
    const { outcome, stored, value } = await this.#operate(form, 0, (queue, deadline) =>
      update(this.#servers.sessions, queue, {
        id: form,
        apply,
        base,
        change: (text) => change(text, lifetimeOf(this.#codec.decode(text))),
        codec: this.#codec,
        deadline,
        onConflict: () => this.#events.emit('conflict', { id }),
      }),
    )
    if (outcome === 'gone') this.#events.emit('gone', { id })
    const result = this.#result(outcome, stored, stored?.text ?? '', id)
    return Object.assign(result, { value })
  }

  async #touch(id: string, options: TouchOptions<Data>): Promise<TouchOutcome> {
    const { lifetime = this.#settings.gcMaxlifetime, access = true } = options
    checkLifetime(lifetime)
    const metadata = metadataOf(options)
    const isId = this.isId(id)
    const base = this.#baseOf(this.#formOf(id), options.base)
    if (!isId) return 'absent'
    if (base !== undefined && this.#settings.shortCircuit) {
      const { outcome } = await this.#refresh(id, base, { lifetime, access, metadata })
      return outcome === 'skipped' ? 'skipped' : outcome === 'gone' ? 'absent' : 'touched'
    }
    const touch = { lifetime: this.#stretched(lifetime), access, metadata, base }
    return (await this.#sendTouch(id, touch)).outcome === 'touched' ? 'touched' : 'absent'
  }

  async #tracedTouch(work: () => Promise<TouchOutcome>): Promise<boolean> {
    const outcome = isTraced(tracing.touch)
      ? traced(tracing.touch, { handler: this.#handler }, work, (outcome) => ({ outcome }))
      : work()
    return (await outcome) !== 'absent'
  }

  /**
   * Refreshes an unchanged session: sends nothing while its stored expiry is recent enough, and a touch when it
   * is not or when there is metadata to record.
   */
  async #refresh(
    id: Name,
    base: StoredSession,
    {
      lifetime,
      access,
      metadata,
    }: { lifetime: number; access: boolean; metadata: MetadataUpdate | undefined },
  ): Promise<{ outcome: WriteOutcome; stored: StoredSession | undefined }> {
    const left = remaining(base)
    const stretched = this.#stretched(lifetime)
    // At the end of its session an expiry cannot become later.
    const end = endOf(base, this.#settings.maxLifetime)
    const possible = end === null ? lifetime : Math.min(lifetime, Math.max(0, end - clockNow(base)))
    // More left than a write with this lifetime would give: the lifetime has become shorter.
    const isRecent = left >= possible && left <= stretched + 1
    if (metadata === undefined && (isRecent || this.#settings.refreshAfter === Number.POSITIVE_INFINITY)) {
      return { outcome: 'skipped', stored: base }
    }
    const answer = await this.#sendTouch(id, { lifetime: stretched, access, metadata, base })
    if (answer.outcome !== 'touched') {
      this.#events.emit('gone', { id: textOf(id) })
      return { outcome: 'gone', stored: undefined }
    }
    const { expires = null, clock = base.clock } = answer
    return {
      outcome: 'updated',
      stored: { ...base, ...withMetadata(base, metadata), expires, clock, readAt: performance.now() },
    }
  }

  #sendTouch(name: Name, touch: Omit<Touch, 'id'>): Promise<Answer> {
    const id = this.#formOf(name)
    return this.#operate(id, 0, (_queue, deadline) => {
      const send = (): Promise<Answer> => this.#servers.sessions.touch({ id, ...touch }, deadline)
      // Sent twice, a touch with error counts might count them twice.
      return touch.metadata === undefined ? again(send) : send()
    })
  }

  async #destroy(name: Name, reason: EndReason): Promise<boolean> {
    const id = this.#formOf(name)
    const { outcome } = await this.#operate(id, 0, (queue, deadline) => {
      queue.latest = undefined
      return destroy(this.#servers.sessions, { id, reason }, deadline)
    })
    return outcome === 'destroyed'
  }

  /** Runs one operation of an id after those that were called before it. */
  async #operate<T>(
    form: string,
    weight: number,
    work: (queue: IdQueue, deadline: number) => Promise<T>,
  ): Promise<T> {
    this.#admission.begin(weight)
    try {
      const { starting } = this.#servers
      if (starting !== undefined) await starting
      const deadline = this.#deadline()
      return await this.#queues.run(this.#keyOf(form), (queue) => work(queue, deadline))
    } finally {
      this.#end(weight)
    }
  }

  #end(weight: number): void {
    this.#admission.end(weight)
    this.#onAccess()
  }

  #deadline(): number {
    return performance.now() + this.#settings.operationTimeout * 1000
  }

  /** Returns the id as the servers are asked for it. */
  #formOf(id: Name): string {
    return id instanceof StoredId ? id.form : storedForm(id, this.#settings.ids)
  }

  /** Returns the key of the queue for an id in any form. */
  #keyOf(form: string): string {
    if (isHashedId(form)) this.hashKeys()
    return this.#hashesKeys ? hashedId(form) : form
  }

  /** Checks the options of a write that say nothing of its data, and returns what makes its row. */
  #changeOf(
    id: string,
    {
      address,
      name = this.#settings.name,
      access = true,
      since,
    }: Pick<WriteOptions<Data>, 'address' | 'name' | 'access' | 'since'>,
    metadata: MetadataUpdate | undefined,
  ): (text: string, lifetime: number) => Change {
    if (address !== undefined) checkText('address', address)
    checkText('name', name)
    const continued = sinceOf(since)
    return (text, lifetime) => ({
      id,
      text,
      lifetime: this.#stretched(lifetime),
      access,
      address: address ?? null,
      name,
      metadata,
      columns: this.columnsOf(text),
      since: continued,
    })
  }

  /**
   * Returns true if the data, encoded as `text`, is what `seen` encodes. A codec of the caller may never encode the same
   * data to the same text twice, for example if it encrypts: then the decoded data is compared.
   */
  #isSame(data: Data, text: string, seen: string): boolean {
    if (text === seen) return true
    if (typeof this.#settings.codec === 'string' || text === '') return false
    this.#codecRepeats ??= this.#codec.encode(data) === text
    return !this.#codecRepeats && isDeepStrictEqual(this.#codec.decode(text), this.#codec.decode(seen))
  }

  #baseOf(id: string, base: unknown): StoredSession | undefined {
    if (base === undefined || base === null || base === 'existing') return undefined
    const stored = SessionRecord.stored(base)
    if (stored !== undefined) {
      if (stored.id === id || hashedId(stored.id) === hashedId(id)) return stored
      throw invalid('Expected base to be a record of this session; received a record of another id.')
    }
    throw invalid(
      "Expected base to be a record from read() or write(), null, or 'existing'. A copy of a record does not work: pass the record itself.",
    )
  }

  #lifetimeOf(lifetime: number | ((data: Data) => number) | undefined): (data: Data) => number {
    return (data) => {
      let seconds: unknown = lifetime ?? this.#settings.gcMaxlifetime
      if (typeof lifetime === 'function') {
        try {
          seconds = lifetime(data)
        } catch (cause) {
          throw invalid('The function in `lifetime` threw an error.', cause)
        }
      }
      checkLifetime(seconds)
      return seconds
    }
  }

  /** With short circuit the stored expiry is later by `refreshAfter`, so that no session lives shorter. */
  #stretched(lifetime: number): number {
    const { shortCircuit, refreshAfter = lifetime / 10 } = this.#settings
    return shortCircuit && refreshAfter !== Number.POSITIVE_INFINITY ? lifetime + refreshAfter : lifetime
  }

  #result(
    outcome: WriteOutcome,
    stored: StoredSession | undefined,
    sent: string,
    id: string,
  ): WriteResult<Data> {
    const { columns, maxLifetime } = this.#settings
    return new Result(outcome, stored, sent, id, this.#codec, maxLifetime, columns)
  }
}

/** Decodes the session when a caller asks for it: a caller who needs only the outcome does not pay for it. */
class Result<Data> implements WriteResult<Data> {
  readonly outcome: WriteOutcome
  readonly #stored: StoredSession | undefined
  readonly #sent: string
  readonly #id: string
  readonly #codec: Codec<Data>
  readonly #maxLifetime: number
  readonly #columns: Columns
  #session: SessionRecord<Data> | undefined

  constructor(
    outcome: WriteOutcome,
    stored: StoredSession | undefined,
    sent: string,
    id: string,
    codec: Codec<Data>,
    maxLifetime: number,
    columns: Columns,
  ) {
    this.outcome = outcome
    this.#maxLifetime = maxLifetime
    this.#stored = stored
    this.#sent = sent
    this.#id = id
    this.#codec = codec
    this.#columns = columns
  }

  get session(): SessionRecord<Data> | undefined {
    if (this.#stored !== undefined) {
      this.#session ??= new SessionRecord(
        this.#stored,
        this.#codec,
        this.#maxLifetime,
        this.#columns,
        this.#id,
      )
    }
    return this.#session
  }

  get sent(): Data {
    return this.#codec.decode(this.#sent)
  }
}

function textOf(id: Name): string {
  return id instanceof StoredId ? id.form : id
}

/** Returns the session that a new one continues. @throws INVALID_ARGUMENT */
function sinceOf(since: unknown): StoredSession | undefined {
  const stored = SessionRecord.stored(since)
  if (since === undefined || stored !== undefined) return stored
  throw invalid('Expected since to be a record from read() or write(). A copy of a record does not work.')
}

/** The fields that a touch with this metadata leaves; the access counter is known to the server alone. */
function withMetadata(base: StoredSession, metadata: MetadataUpdate | undefined): Partial<StoredSession> {
  return {
    custom: metadata?.custom === undefined ? base.custom : metadata.custom,
    errors: base.errors + (metadata?.errors ?? 0),
    warnings: base.warnings + (metadata?.warnings ?? 0),
    notices: base.notices + (metadata?.notices ?? 0),
    errorMessage: metadata?.message ?? base.errorMessage,
  }
}
