import { isDeepStrictEqual } from 'node:util'
import { SessionPgsqlError } from '../../errors.ts'
import type { WriteResult } from '../../operations.ts'
import type { SaveHandler } from '../../save-handler.ts'
import type { SessionRecord } from '../../session/record.ts'
import type { RequestLike, SignedCookie } from './signed-cookie.ts'

/** The data of a session as it is stored: what the application keeps, and our own notes. */
export type Stored = Record<string, unknown> & { [NOTES]?: Notes }

/** The key of our notes in the data. */
const NOTES = '$session'

/** Seconds that the row of an id that has been left is kept at least: the way to the new one. */
const UNDER_WAY = 60

/** What a session knows of its other ids. Every one a key of its own, so that two at once both stay. */
interface Notes {
  /** In the session before: the ids that `regenerate` made of it, and until when it is answered (ms since 1970). */
  next?: Record<string, number>
  /** In the session before: it is being destroyed. */
  ended?: true
  /** In the session after: the id that it had. */
  previous?: string
}

/** The session of one request. Only `commit` goes to the database. */
export interface WebSession<Data extends object> {
  /** undefined as long as it is not stored. */
  readonly id: string | undefined
  /** The custom field, for example a user's id: for `findByField` and `destroyByField`. */
  field: string | null
  get<K extends keyof Data & string>(key: K): Data[K] | undefined
  /** What is set must be what the codec can write; with JSON no Date, Map or the like. */
  set<K extends keyof Data & string>(key: K, value: Data[K]): void
  delete(key: keyof Data & string): void
  /** All keys. A copy: set by `set`. */
  readonly data: Partial<Data>
  /**
   * A new id for the same data: call it at sign-in, so that whoever knew the old id does not get in. The old
   * one is answered for `grace` seconds more with what it held before, for requests under way; what
   * those that began before this change reaches the session under its new id.
   */
  regenerate(): void
  /** Ends it, for good: a request under way does not bring it back. What is set after this begins a new one. */
  destroy(): void
  /**
   * Does what has been asked for, and gives the value of the header `Set-Cookie`, or undefined if none is
   * needed. Call it before the response's headers are sent. It writes only if there is something to write; of
   * a session that was destroyed meanwhile nothing, and that is no error (the save handler's event `gone`
   * tells). May be called again.
   */
  commit(): Promise<string | undefined>
}

export interface SessionContext {
  readonly sessions: SaveHandler<Stored>
  readonly cookie: SignedCookie
  readonly request: RequestLike
  readonly address: string | undefined
  readonly name: string
  /** Seconds. */
  readonly lifetime: number
  /** Seconds. */
  readonly grace: number
}

export async function openSession<Data extends object>(context: SessionContext): Promise<WebSession<Data>> {
  const { cookie, request, sessions } = context
  const brought = cookie.read(request)
  const record = brought && (await sessions.read(brought.id))
  if (record !== undefined && !isObject(record.data)) {
    throw new SessionPgsqlError(
      'UNDECODABLE',
      'The stored data of this session is not an object with keys. Was it written by something else?',
    )
  }
  const isOver = record !== undefined && hasEnded(record.data[NOTES])
  return new RequestSession(
    context,
    isOver ? undefined : record,
    brought?.isFresh ?? true,
  ) as unknown as WebSession<Data>
}

class RequestSession {
  readonly #context: SessionContext
  /** The row that this was made from, brought up to date by every commit; undefined: there is none yet. */
  #base: SessionRecord<Stored> | undefined
  /** What the data looked like then, where that is not the base's. */
  #seen: Stored | undefined
  #data: Stored
  /** As asked for; undefined: not asked. */
  #field: string | null | undefined
  /** The id that this session is to have from the next commit on. */
  #nextId: string | undefined
  /** To be destroyed at the next commit. */
  #ending: SessionRecord<Stored>[] = []
  /** The browser is to be given the cookie though nothing has changed. */
  #isStale: boolean
  /** It began when its id had been changed already: it may look, but what it changes ends with the old id. */
  readonly #isLate: boolean
  #isGone = false
  #isCounted = false
  #tail: Promise<unknown> = Promise.resolve()

  constructor(context: SessionContext, record: SessionRecord<Stored> | undefined, isFresh: boolean) {
    this.#context = context
    this.#base = record
    // Not the record's own: what the application changes shall not change what it started from.
    this.#data = record === undefined ? {} : context.sessions.snapshot(record.data)
    this.#isStale = record !== undefined && !isFresh
    this.#isLate = isLeaving(record?.data[NOTES])
  }

  get id(): string | undefined {
    return this.#base?.id
  }

  get field(): string | null {
    return this.#field === undefined ? (this.#base?.custom ?? null) : this.#field
  }

  set field(value: string | null) {
    this.#field = value
  }

  get data(): Stored {
    return without(this.#data)
  }

  get(key: string): unknown {
    return key !== NOTES && Object.hasOwn(this.#data, key) ? this.#data[key] : undefined
  }

  set(key: string, value: unknown): void {
    checkKey(key)
    // Not by assignment: a key named __proto__ is data like any other.
    Object.defineProperty(this.#data, key, { value, writable: true, enumerable: true, configurable: true })
  }

  delete(key: string): void {
    checkKey(key)
    delete this.#data[key]
  }

  regenerate(): void {
    if (this.#base !== undefined) this.#nextId ??= this.#context.sessions.createId()
  }

  destroy(): void {
    if (this.#base !== undefined) this.#ending.push(this.#base)
    this.#begin({})
  }

  commit(): Promise<string | undefined> {
    const done = this.#tail.then(() => this.#commit())
    this.#tail = done.catch(() => {})
    return done
  }

  async #commit(): Promise<string | undefined> {
    const { cookie, request } = this.#context
    let header: string | undefined
    for (const record of [...this.#ending]) {
      await this.#destroy(record)
      this.#ending = this.#ending.filter((other) => other !== record)
      header = cookie.take(request)
    }
    if (this.#isGone) return header
    const id = await this.#write()
    return id === undefined ? header : cookie.give(id, request)
  }

  /** @returns the id that the browser is to be given */
  async #write(): Promise<string | undefined> {
    if (this.#base === undefined) {
      if (Object.keys(this.#data).length === 0 && !this.#field) return undefined
      const id = this.#nextId ?? this.#context.sessions.createId()
      // A second try, after an error, finds what the first has made.
      this.#nextId = id
      return this.#create(id, without(this.#data), this.#field)
    }
    if (this.#nextId !== undefined) return this.#move(this.#base, this.#nextId)
    return this.#update(this.#base)
  }

  async #create(id: string, data: Stored, custom: string | null | undefined): Promise<string> {
    const result = await this.#send(id, data, { base: null, custom })
    this.#nextId = undefined
    this.#settle(result)
    return id
  }

  async #update(base: SessionRecord<Stored>): Promise<string | undefined> {
    const before = this.#seen ?? base.data
    const result = await this.#send(base.id, this.#data, {
      base,
      seen: this.#seen,
      custom: this.#field,
    })
    if (result.outcome === 'gone') {
      this.#isGone = true
      return undefined
    }
    const next = Object.keys(notesOf(result.session).next ?? {})
    if (next.length > 0) {
      // The id was changed meanwhile: the browser has a newer cookie, or is about to.
      if (!this.#isLate) {
        for (const id of next) await this.#forward(id, result.sent, before)
      }
      this.#settle(result)
      return undefined
    }
    this.#settle(result)
    if (!this.#isStale) return undefined
    this.#isStale = false
    return base.id
  }

  /**
   * The session goes on under another id. The row under the old one says so before the new one is made, so
   * that whoever writes or destroys it meanwhile finds the way, and is looked at again afterwards.
   */
  async #move(base: SessionRecord<Stored>, id: string): Promise<string | undefined> {
    const { grace, sessions } = this.#context
    const seen = this.#seen ?? base.data
    const until = Date.now() + grace * 1000
    const marked = await this.#send(
      base.id,
      { ...seen, [NOTES]: { ...seen[NOTES], next: { ...seen[NOTES]?.next, [id]: until } } },
      { base, seen, counts: false },
    )
    const old = marked.session
    if (old === undefined || notesOf(old).ended) {
      this.#isGone = true
      return undefined
    }
    const [before, mine] = [without(seen), without(this.#data)]
    const custom = this.#field === undefined ? old.custom : this.#field
    let made = await this.#send(
      id,
      { ...without(old.data), [NOTES]: { previous: base.id } },
      { base: null, custom },
    )
    made = await this.#send(
      id,
      { ...mine, [NOTES]: { previous: base.id } },
      {
        base: made.session,
        seen: { ...before, [NOTES]: { previous: base.id } },
        counts: false,
      },
    )
    const now = await sessions.read(base.id)
    if (now === undefined || notesOf(now).ended) {
      // Signed out while this was under way: nobody comes back.
      await sessions.destroy(id)
      this.#isGone = true
      return undefined
    }
    await this.#forward(id, now.data, old.data)
    if (grace === 0) await sessions.destroy(base.id)
    this.#nextId = undefined
    this.#data = { ...mine, [NOTES]: { previous: base.id } }
    this.#seen = undefined
    if (made.outcome === 'gone') {
      this.#isGone = true
      return undefined
    }
    this.#settle(made)
    return id
  }

  /** Carries a change that was made under the old id over to the new one. */
  async #forward(id: string, mine: Stored, seen: Stored): Promise<void> {
    if (isDeepStrictEqual(without(mine), without(seen))) return
    const record = await this.#context.sessions.read(id)
    if (record === undefined) return
    const notes = record.data[NOTES] === undefined ? {} : { [NOTES]: record.data[NOTES] }
    await this.#send(
      id,
      { ...without(mine), ...notes },
      {
        base: record,
        seen: { ...without(seen), ...notes },
        counts: false,
      },
    )
  }

  /** Says first that it ends, for its id may be changing at this moment; then ends it, under whichever ids. */
  async #destroy(record: SessionRecord<Stored>): Promise<void> {
    const { sessions } = this.#context
    const { data } = record
    const { session } = await this.#send(
      record.id,
      { ...data, [NOTES]: { ...data[NOTES], ended: true } },
      { base: record, seen: data, counts: false },
    )
    const { next = {}, previous } = notesOf(session ?? record)
    const ids = [record.id, ...Object.keys(next), ...(previous === undefined ? [] : [previous])]
    for (const id of ids) await sessions.destroy(id)
  }

  async #send(
    id: string,
    data: Stored,
    options: {
      base: SessionRecord<Stored> | null | undefined
      seen?: Stored | undefined
      custom?: string | null | undefined
      counts?: boolean
    },
  ): Promise<WriteResult<Stored>> {
    const { address, grace, lifetime, name, sessions } = this.#context
    const { base, custom, counts = true, seen } = options
    const result = await sessions.write(id, data, {
      base: base ?? null,
      seen,
      lifetime: (stored) => (isLeaving(stored[NOTES]) ? grace + UNDER_WAY : lifetime),
      address,
      name,
      custom,
      access: counts && !this.#isCounted,
    })
    if (counts && result.outcome !== 'skipped') this.#isCounted = true
    return result
  }

  /** What has been written is what the next commit starts from. */
  #settle(result: WriteResult<Stored>): void {
    this.#field = undefined
    this.#base = result.session
    // What others have written is not in the data here: the next write must not take that for a deletion.
    this.#seen = result.sent
  }

  #begin(data: Stored): void {
    this.#base = undefined
    this.#seen = undefined
    this.#field = undefined
    this.#nextId = undefined
    this.#data = data
    this.#isStale = false
    this.#isGone = false
  }
}

function without({ [NOTES]: _, ...data }: Stored): Stored {
  return data
}

function notesOf(record: SessionRecord<Stored> | undefined): Notes {
  return record?.data[NOTES] ?? {}
}

function isLeaving(notes: Notes | undefined): boolean {
  return notes?.ended === true || Object.keys(notes?.next ?? {}).length > 0
}

/** Left behind by `regenerate` longer ago than the grace: a touch may have kept its row. */
function hasEnded(notes: Notes | undefined): boolean {
  const until = Object.values(notes?.next ?? {})
  return notes?.ended === true || (until.length > 0 && Math.max(...until) < Date.now())
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkKey(key: string): void {
  if (key === NOTES) {
    throw new SessionPgsqlError('INVALID_ARGUMENT', `The key ${NOTES} is kept for the adapter's own notes.`)
  }
}
