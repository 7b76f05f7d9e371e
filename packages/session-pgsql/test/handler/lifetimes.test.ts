import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SaveHandlerOptions, SessionRecord } from '../../src/index.ts'
import { useDatabaseClock } from '../support/database-clock.ts'
import { type Data, describeHandler, type Handler, type Kit, id as newId } from './kit.ts'

/**
 * Random sequences of everything that moves the end of a session, against a database whose clock the test sets. A model
 * knows from when to when a session must be readable, and from when on it must not be.
 */

/** Seconds by which the model may be wrong: expiries are rounded up to a second, and statements take time. */
const TOLERANCE = 2

const RUNS = Number(process.env.SESSION_PGSQL_TEST_RUNS ?? 15)

type Operation =
  | {
      readonly kind: 'write' | 'touch'
      readonly base: boolean
      readonly change: boolean
      readonly lifetime: number
    }
  | { readonly kind: 'advance'; readonly seconds: number }
  | { readonly kind: 'extend'; readonly seconds: number }
  | { readonly kind: 'read' | 'gc' | 'continue' | 'destroy' }

interface Settings {
  readonly maxLifetime: number
  readonly shortCircuit: boolean
  readonly refreshAfter: number | undefined
  readonly expiryGrace: number
  readonly keepExpired: boolean
}

/** What the model knows of the session. */
interface Model {
  /** undefined: there is none. */
  began: number
  /** It must be readable until then. */
  least: number
  /** It must not be readable after that. */
  most: number
}

const lifetime = fc.integer({ min: 1, max: 300 })

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('write' as const, 'touch' as const),
    base: fc.boolean(),
    change: fc.boolean(),
    lifetime,
  }),
  fc.record({ kind: fc.constant('advance' as const), seconds: fc.integer({ min: 1, max: 200 }) }),
  fc.record({ kind: fc.constant('extend' as const), seconds: fc.integer({ min: 1, max: 1000 }) }),
  fc.record({
    kind: fc.constantFrom(
      'read' as const,
      'read' as const,
      'gc' as const,
      'continue' as const,
      'destroy' as const,
    ),
  }),
)

const settings: fc.Arbitrary<Settings> = fc.record({
  maxLifetime: fc.constantFrom(Number.POSITIVE_INFINITY, 400, 150.5, 30),
  shortCircuit: fc.boolean(),
  refreshAfter: fc.constantFrom(undefined, undefined, 20, Number.POSITIVE_INFINITY),
  expiryGrace: fc.constantFrom(60, 60, 0),
  keepExpired: fc.boolean(),
})

class Run {
  readonly #kit: Kit
  readonly #sessions: Handler
  readonly #settings: Settings
  readonly #now: () => number
  #id = newId()
  #model: Model | undefined
  #held: SessionRecord<Data> | undefined
  #count = 0

  constructor(kit: Kit, sessions: Handler, settings: Settings, now: () => number) {
    this.#kit = kit
    this.#sessions = sessions
    this.#settings = settings
    this.#now = now
  }

  async do(operation: Exclude<Operation, { kind: 'advance' }>): Promise<void> {
    switch (operation.kind) {
      case 'read':
        return this.#read()
      case 'gc':
        return this.#collect()
      case 'destroy':
        await this.#sessions.destroy(this.#id)
        this.#model = undefined
        // A touch that is skipped cannot know of it.
        this.#held = undefined
        return
      case 'extend':
        return this.#extend(operation.seconds)
      case 'continue':
        return this.#continue()
      case 'write':
        return this.#write(operation)
      case 'touch':
        return this.#touch(operation)
    }
  }

  /** Between clocks that differ by more than a minute, garbage collection is suspended. */
  async #collect(): Promise<void> {
    await this.#sessions.gc().catch((error) => {
      if (error.code !== 'CLOCK_IMPLAUSIBLE') throw error
    })
  }

  get #end(): number {
    return (this.#model?.began ?? Number.NaN) + this.#settings.maxLifetime
  }

  /** Whether the session must be there, must not be, or the model cannot tell. */
  #expectedFrom(start: number): 'there' | 'absent' | undefined {
    if (this.#model === undefined) return 'absent'
    if (this.#now() < Math.min(this.#model.least, this.#end) - TOLERANCE) return 'there'
    if (start > Math.min(this.#model.most, this.#end) + TOLERANCE) return 'absent'
    return undefined
  }

  async #read(): Promise<void> {
    const start = this.#now()
    const record = await this.#sessions.read(this.#id)
    this.#check(record === undefined ? 'absent' : 'there', start, 'a read')
    if (record === undefined) return
    this.#held = record
    if (this.#settings.maxLifetime !== Number.POSITIVE_INFINITY) {
      const left = ((record.endsAt?.getTime() ?? 0) - Date.now() - record.clockAhead) / 1000
      expect(Math.abs(this.#now() + left - this.#end)).toBeLessThan(TOLERANCE)
      expect(record.expires?.getTime()).toBeLessThanOrEqual(record.endsAt?.getTime() ?? 0)
    }
  }

  #check(found: 'there' | 'absent', start: number, what: string): void {
    const expected = this.#expectedFrom(start)
    if (expected === undefined || expected === found) return
    const since = this.#now() - (this.#model?.began ?? 0)
    throw new Error(
      `Expected the session to be ${expected}; ${what} found it ${found}, ${since} s after it began.`,
    )
  }

  /** A program that knows nothing of `maxLifetime` sets an expiry. */
  async #extend(seconds: number): Promise<void> {
    if (this.#model === undefined || this.#expectedFrom(this.#now()) !== 'there') return
    await this.#kit.query(
      'UPDATE php_session SET sess_expire = ceil(extract(epoch FROM clock_timestamp()))::bigint + $2 WHERE sess_id = $1',
      [this.#id, seconds],
    )
    this.#held = undefined
    this.#model.least = this.#model.most = this.#now() + seconds
  }

  /** The session gets a new id. */
  async #continue(): Promise<void> {
    const since = await this.#sessions.read(this.#id)
    if (since === undefined || this.#model === undefined) return
    const id = newId()
    const start = this.#now()
    const { session } = await this.#sessions.write(id, since.data, { base: null, since, lifetime: 100 })
    await this.#sessions.destroy(this.#id)
    this.#id = id
    this.#held = session
    this.#model = { ...this.#model, ...this.#span(start, 100) }
  }

  async #write({
    base,
    change,
    lifetime,
  }: {
    base: boolean
    change: boolean
    lifetime: number
  }): Promise<void> {
    const held = base ? this.#held : undefined
    const data = held !== undefined && !change ? held.data : { n: ++this.#count }
    const start = this.#now()
    const { outcome, session } = await this.#sessions.write(this.#id, data, { base: held, lifetime })
    if (outcome === 'created') {
      this.#check('absent', start, 'a write')
      this.#model = { began: start, ...this.#span(start, lifetime) }
    } else if (outcome === 'gone') {
      this.#check('absent', start, 'a write')
      this.#held = undefined
      return
    } else if (outcome === 'skipped') {
      this.#skipped(start, lifetime)
    } else {
      this.#saved(start, 'a write', this.#span(start, lifetime))
    }
    this.#held = session
  }

  async #touch({ base, lifetime }: { base: boolean; lifetime: number }): Promise<void> {
    const held = base ? this.#held : undefined
    const start = this.#now()
    const isTouched = await this.#sessions.touch(this.#id, { base: held, lifetime })
    if (!isTouched) {
      this.#check('absent', start, 'a touch')
      return
    }
    // It was skipped, as session_pgsql does.
    if (held !== undefined && this.#isNeverRefreshed && this.#expectedFrom(start) !== 'there') return
    const before = this.#model as Model
    const span = this.#span(start, lifetime)
    if (held === undefined) {
      this.#saved(start, 'a touch', later(before, span))
    } else {
      // It may have been skipped, and the data may have changed since, which lets the later expiry stand.
      const least = this.#isNeverRefreshed ? Math.min(before.least, span.least) : span.least
      this.#saved(start, 'a touch', { least, most: Math.max(before.most, span.most) })
    }
  }

  /** The store has changed the session: it was there, or has expired within the grace. */
  #saved(start: number, what: string, span: Pick<Model, 'least' | 'most'>): void {
    const model = this.#model
    if (
      model === undefined ||
      start > Math.min(model.most, this.#end) + this.#settings.expiryGrace + TOLERANCE
    ) {
      throw new Error(`${what} changed a session that had ended.`)
    }
    Object.assign(model, span)
  }

  /** Nothing was sent: the session lives as long as if it had been. */
  #skipped(start: number, lifetime: number): void {
    const model = this.#model
    if (model === undefined || this.#isNeverRefreshed) return
    // With the end already reached, the store need not know that the session has expired.
    model.least = Math.min(start + lifetime, this.#end)
    model.most = Math.max(model.most, model.least)
  }

  get #isNeverRefreshed(): boolean {
    return this.#settings.shortCircuit && this.#settings.refreshAfter === Number.POSITIVE_INFINITY
  }

  #span(start: number, lifetime: number): Pick<Model, 'least' | 'most'> {
    const { shortCircuit, refreshAfter = lifetime / 10 } = this.#settings
    const stretch = shortCircuit && refreshAfter !== Number.POSITIVE_INFINITY ? refreshAfter : 0
    return { least: start + lifetime, most: this.#now() + lifetime + stretch }
  }
}

const later = (one: Model, other: Pick<Model, 'least' | 'most'>) => ({
  least: Math.max(one.least, other.least),
  most: Math.max(one.most, other.most),
})

describeHandler(
  'The lifetime of a session',
  (kit) => {
    test('no read succeeds after its end, and it does not end early', { timeout: 120_000 }, async () => {
      const skews = fc.constantFrom(0, 50, -50, 3000, -3000)
      await fc.assert(
        fc.asyncProperty(settings, skews, fc.array(operation, { minLength: 8, maxLength: 24 }), runOnce),
        { numRuns: RUNS, endOnFailure: true },
      )
    })

    async function runOnce(settings: Settings, skew: number, operations: Operation[]): Promise<void> {
      const clock = await useDatabaseClock(kit.database(), skew)
      const options: SaveHandlerOptions<Data> = { ...settings, gcMaxlifetime: 100, conflict: 'merge' }
      const sessions = kit.open(options)
      try {
        const run = new Run(kit, sessions, settings, () => performance.now() / 1000)
        await run.do({ kind: 'write', base: false, change: true, lifetime: 100 })
        for (const operation of operations) {
          if (operation.kind === 'advance') await clock.advance(operation.seconds)
          else await run.do(operation)
          await run.do({ kind: 'read' })
        }
      } finally {
        clock.restore()
        await sessions.close()
      }
    }
  },
  'postgres only',
)
