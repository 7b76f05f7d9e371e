import type { Meter, ObservableResult } from '@opentelemetry/api'

/** What a gateway has at this moment. */
export interface Standing {
  readonly connections: number
  readonly maxConnections: number
  /** Locks that its connections hold. */
  readonly locks: number
}

/** Seconds; a command may wait for a database that is away, until `operationTimeout`. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** The gateway's own metrics; docs/metrics.md has their list. No label holds what a client has sent. */
export class Figures {
  readonly #commands
  readonly #refused
  readonly #lockRequests
  readonly #stops: (() => void)[] = []

  /** @param standing asked whenever somebody wants to know */
  constructor(meter: Meter, standing: () => Standing) {
    const gauge = (name: string, unit: string, description: string, figure: keyof Standing): void => {
      const instrument = meter.createObservableUpDownCounter(`session_pgsql.gateway.${name}`, {
        description,
        unit,
      })
      const observe = (result: ObservableResult): void => result.observe(standing()[figure])
      instrument.addCallback(observe)
      this.#stops.push(() => instrument.removeCallback(observe))
    }
    gauge('connection.count', '{connection}', 'Connections of clients', 'connections')
    gauge('connection.max', '{connection}', 'Most connections that are taken', 'maxConnections')
    gauge('lock.count', '{lock}', 'Session locks that connections hold', 'locks')
    this.#refused = meter.createCounter('session_pgsql.gateway.connection.refused', {
      description: 'Connections that were one too many',
      unit: '{connection}',
    })
    this.#lockRequests = meter.createCounter('session_pgsql.gateway.lock.requests', {
      description: 'Tries to take the lock of a session',
      unit: '{request}',
    })
    this.#commands = meter.createHistogram('session_pgsql.gateway.command.duration', {
      description: 'Duration of commands, from the command to its answer',
      unit: 's',
      advice: { explicitBucketBoundaries: SECONDS },
    })
    // A counter that comes into being with its first count has not gone up, to who watches it.
    this.#refused.add(0)
  }

  /** @param name of a command that is served, or `unknown`: never what a client has sent */
  command(name: string, seconds: number, error: string | undefined): void {
    this.#commands.record(seconds, {
      'db.operation.name': name,
      ...(error === undefined ? {} : { 'error.type': error }),
    })
  }

  connectionRefused(): void {
    this.#refused.add(1)
  }

  /** @param taken false: somebody else has it, and the client will try again */
  lockRequest(taken: boolean): void {
    this.#lockRequests.add(1, { 'session_pgsql.outcome': taken ? 'taken' : 'busy' })
  }

  close(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }
}
