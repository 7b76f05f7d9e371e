import type { Conninfo, TargetSessionAttrs } from '../conninfo/conninfo.ts'
import type {
  Database,
  Parameter,
  PoolUse,
  Query,
  Row,
  Statement,
  Subscriber,
  Subscription,
} from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { HostDatabase, type Role } from './host.ts'
import { InFlight } from './in-flight.ts'

/** Milliseconds that the other hosts have to answer once one has been found that can be used. */
const OTHERS_TIMEOUT = 250

/** Milliseconds between two searches for a host that was promoted while the primary in use still answers. */
const WATCH_INTERVAL = 1000

/** Another host has become the primary of a replicated group. */
export interface Promotion {
  /** The hosts, named as in `status()`. */
  readonly from: string
  readonly to: string
  /** The new primary's timeline: PostgreSQL increments it at each promotion. */
  readonly timeline: number
}

/** Whether a host can be used for a `target_session_attrs`, by libpq's rules. */
const FITS: Record<TargetSessionAttrs, (role: Role) => boolean> = {
  any: () => true,
  'read-write': ({ readOnly, standby }) => !readOnly && !standby,
  'read-only': ({ readOnly, standby }) => readOnly || standby,
  primary: ({ standby }) => !standby,
  standby: ({ standby }) => standby,
  'prefer-standby': () => true,
}

/**
 * A replicated group of hosts behind one entry of `db`: libpq's `host=a,b,c target_session_attrs=read-write`.
 *
 * Queries the roles of all hosts at once and uses the one that fits; searches again when it is lost or found to be
 * read-only. If several hosts claim to be primary, the one on the highest timeline wins, and lower ones are refused
 * from then on: after a promotion without fencing both accept writes, and writes to the old primary are lost.
 */
export class Group implements Database {
  readonly #target: TargetSessionAttrs
  readonly #hosts: readonly HostDatabase[]
  readonly #random: boolean
  /** One host of any role: no search is needed. */
  readonly #simple: boolean
  readonly #probeTimeout: number
  readonly #onPromotion: (promotion: Promotion) => void
  readonly #inFlight = new InFlight()
  #current: HostDatabase | undefined
  /** The last primary in use, which may have been lost since. */
  #primary: HostDatabase | undefined
  #searching: Promise<HostDatabase> | undefined
  /** The highest timeline seen. */
  #timeline = 0
  #watch: NodeJS.Timeout | undefined

  constructor(
    conninfo: Conninfo,
    limits: { readonly poolSize: number; readonly operationTimeout: number },
    onPromotion: (promotion: Promotion) => void,
  ) {
    this.#onPromotion = onPromotion
    this.#target = conninfo.targetSessionAttrs
    this.#simple = conninfo.hosts.length === 1 && this.#target === 'any'
    this.#hosts = conninfo.hosts.map(
      (host) =>
        new HostDatabase(conninfo, host, limits, this.#simple ? undefined : (role) => this.#refusal(role)),
    )
    this.#random = conninfo.loadBalanceHosts === 'random'
    this.#probeTimeout = 1000 * Math.min(conninfo.connectTimeout ?? Infinity, limits.operationTimeout)
  }

  distrusts(standby: boolean): boolean {
    const wrong = standby ? this.#wantsPrimary() : this.#target === 'standby'
    const host = this.#current
    if (!wrong || host === undefined) return wrong
    this.#current = undefined
    void host.close()
    return true
  }

  /** The host in use. */
  get address(): string | undefined {
    return this.#current?.label
  }

  /** The pool of the host in use. */
  get pool(): PoolUse | undefined {
    return this.#current?.pool
  }

  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#use(deadline, (host) => host.query(statement, parameters, deadline))
  }

  transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T> {
    return this.#use(deadline, (host) => host.transaction(work, deadline))
  }

  listen(channel: string, subscriber: Subscriber, deadline: number): Promise<Subscription> {
    return this.#use(deadline, (host) => host.listen(channel, subscriber, deadline))
  }

  async ping(deadline: number): Promise<boolean> {
    return !(await this.#use(deadline, (host) => host.role(deadline))).readOnly
  }

  async close(): Promise<void> {
    clearInterval(this.#watch)
    this.#watch = undefined
    this.#current = undefined
    await Promise.all(this.#hosts.map((host) => host.close()))
  }

  async #use<T>(deadline: number, call: (host: HostDatabase) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const host = this.#current ?? (await this.#search(deadline))
      try {
        return await this.#inFlight.wait(call(host))
      } catch (error) {
        if (!(error instanceof SessionPgsqlError)) throw error
        const readOnly = error.sqlState === '25006'
        const lost =
          error.code === 'SERVER_DOWN' || (error.code === 'TIMEOUT' && error.sqlState === undefined)
        if (!readOnly && !lost) throw error
        if (this.#current === host) this.#current = undefined
        // The host is no longer the primary, or nothing was sent: the same request may continue on another host.
        const mayRepeat = readOnly || (error.code === 'SERVER_DOWN' && !error.outcomeUnknown)
        if (!mayRepeat || tries > this.#hosts.length || performance.now() >= deadline) throw error
      }
    }
  }

  /** Finds the host to use. Concurrent calls share one search. */
  #search(deadline: number): Promise<HostDatabase> {
    this.#searching ??= this.#find(deadline).finally(() => {
      this.#searching = undefined
    })
    return this.#searching
  }

  async #find(deadline: number): Promise<HostDatabase> {
    const [only] = this.#hosts
    if (this.#simple) {
      this.#current = only as HostDatabase
      return this.#current
    }
    const found = await this.#queryRoles(Math.min(deadline, performance.now() + this.#probeTimeout))
    if (found.chosen === undefined) {
      throw new SessionPgsqlError(
        'SERVER_DOWN',
        `No host matches target_session_attrs=${this.#target}: ${found.reasons.join('; ')}.`,
      )
    }
    this.#take(found.chosen)
    return found.chosen.host
  }

  #take({ host, role }: Candidate): void {
    this.#current = host
    const { timeline } = role
    const before = this.#primary
    if (!role.standby) this.#primary = host
    if (before !== undefined && before !== host && timeline > this.#timeline) {
      this.#onPromotion({ from: before.label, to: host.label, timeline })
    }
    this.#timeline = Math.max(this.#timeline, timeline)
    if (this.#watch === undefined && this.#hosts.length > 1 && this.#wantsPrimary()) {
      this.#watch = setInterval(() => void this.#findPromoted(), WATCH_INTERVAL)
      this.#watch.unref()
    }
  }

  #wantsPrimary(): boolean {
    return this.#target === 'read-write' || this.#target === 'primary'
  }

  /** Queries the roles of all hosts at once. Once one fits, waits only a little longer for the others. */
  async #queryRoles(deadline: number): Promise<{ chosen: Candidate | undefined; reasons: string[] }> {
    const candidates: Candidate[] = []
    const reasons: string[] = []
    let stopWaiting = (): void => {}
    const othersTimeout = new Promise<void>((resolve) => {
      stopWaiting = resolve
    })
    const asked = this.#hosts.map(async (host) => {
      try {
        const role = await host.role(deadline)
        const refusal = this.#refusal(role)
        if (refusal !== undefined) throw new Error(refusal)
        candidates.push({ host, role })
        setTimeout(stopWaiting, OTHERS_TIMEOUT).unref()
      } catch (error) {
        reasons.push(`${host.label}: ${(error as Error).message.replace(/\.$/, '')}`)
      }
    })
    await Promise.race([Promise.all(asked), othersTimeout])
    return { chosen: this.#choose(candidates), reasons }
  }

  #refusal(role: Role): string | undefined {
    if (!FITS[this.#target](role))
      return role.standby ? 'it is a standby' : role.readOnly ? 'it is read-only' : 'it is a primary'
    if (!role.standby && role.timeline < this.#timeline) {
      return `its timeline ${role.timeline} is older than ${this.#timeline}, so another host was promoted to replace it`
    }
    return undefined
  }

  #choose(candidates: readonly Candidate[]): Candidate | undefined {
    const order = this.#random ? shuffled(this.#hosts) : this.#hosts
    const rank = ({ host, role }: Candidate): number[] => [
      this.#target === 'prefer-standby' ? Number(!role.standby) : 0,
      this.#wantsPrimary() ? -role.timeline : 0,
      order.indexOf(host),
    ]
    return [...candidates].sort((one, other) => compare(rank(one), rank(other)))[0]
  }

  /** Switches to a primary that was promoted while the one in use still answers, and so is outdated. */
  async #findPromoted(): Promise<void> {
    // Requests may lose it while the roles are queried.
    const old = this.#current
    if (old === undefined || this.#searching !== undefined) return
    const { chosen } = await this.#queryRoles(performance.now() + this.#probeTimeout)
    if (chosen === undefined || chosen.role.timeline <= this.#timeline || this.#watch === undefined) return
    this.#take(chosen)
    if (old === chosen.host) return
    // With synchronous replication its commits hang, because its standby now follows the new primary.
    this.#inFlight.rejectAll(
      () =>
        new SessionPgsqlError(
          'SERVER_DOWN',
          'Another host was promoted to primary while this request was in progress.',
          {
            outcomeUnknown: true,
          },
        ),
    )
    await old.close()
  }
}

interface Candidate {
  readonly host: HostDatabase
  readonly role: Role
}

function compare(one: readonly number[], other: readonly number[]): number {
  const index = one.findIndex((value, place) => value !== other[place])
  return index === -1 ? 0 : (one[index] as number) - (other[index] as number)
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .sort((one, other) => one.key - other.key)
    .map(({ item }) => item)
}
