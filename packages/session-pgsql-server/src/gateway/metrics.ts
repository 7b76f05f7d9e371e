import type { Counter, Histogram, Meter, ObservableResult } from '@opentelemetry/api'

/** The state of a gateway that its gauges show. */
export interface GatewayState {
  readonly connections: number
  readonly maxConnections: number
  /** Locks that its connections hold. */
  readonly locks: number
}

/** Bucket boundaries in seconds. While its database is unreachable, a command may wait for `operationTimeout`. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** The metrics of the gateway itself, listed in docs/metrics.md. No label holds what a client has sent. */
export class GatewayMetrics {
  readonly #commands: Histogram | undefined
  readonly #refused: Counter | undefined
  readonly #lockRequests: Counter | undefined
  readonly #unregister: (() => void)[] = []

  /**
   * @param meter undefined: nothing is recorded
   * @param state called at each collection
   */
  constructor(meter: Meter | undefined, state: () => GatewayState) {
    if (meter === undefined) return
    const gauge = (name: string, unit: string, description: string, property: keyof GatewayState): void => {
      const instrument = meter.createObservableUpDownCounter(`session_pgsql.gateway.${name}`, {
        description,
        unit,
      })
      const observe = (result: ObservableResult): void => result.observe(state()[property])
      instrument.addCallback(observe)
      this.#unregister.push(() => instrument.removeCallback(observe))
    }
    gauge('connection.count', '{connection}', 'Open connections of clients', 'connections')
    gauge('connection.max', '{connection}', 'Most connections that the gateway accepts', 'maxConnections')
    gauge('lock.count', '{lock}', 'Session locks that connections hold', 'locks')
    this.#refused = meter.createCounter('session_pgsql.gateway.connection.refused', {
      description: 'Connections refused because there were too many',
      unit: '{connection}',
    })
    this.#lockRequests = meter.createCounter('session_pgsql.gateway.lock.requests', {
      description: 'Attempts to take the lock of a session',
      unit: '{request}',
    })
    this.#commands = meter.createHistogram('session_pgsql.gateway.command.duration', {
      description: 'Duration of commands, until the reply',
      unit: 's',
      advice: { explicitBucketBoundaries: SECONDS },
    })
    // Prometheus sees an increase only if the counter was there before.
    this.#refused.add(0)
  }

  /** @param name of a command that is served, or `unknown`: never what a client has sent */
  command(name: string, seconds: number, error: string | undefined): void {
    this.#commands?.record(seconds, {
      'db.operation.name': name,
      ...(error === undefined ? {} : { 'error.type': error }),
    })
  }

  connectionRefused(): void {
    this.#refused?.add(1)
  }

  /** @param isTaken false: another client has the lock, and this one will try again */
  lockRequest(isTaken: boolean): void {
    this.#lockRequests?.add(1, { 'session_pgsql.outcome': isTaken ? 'taken' : 'busy' })
  }

  /** Unregisters the gauges. */
  close(): void {
    for (const unregister of this.#unregister.splice(0)) unregister()
  }
}
