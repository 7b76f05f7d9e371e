import { channel } from 'node:diagnostics_channel'
import {
  type Attributes,
  type BatchObservableResult,
  createNoopMeter,
  type MeterProvider,
  metrics,
  type Observable,
} from '@opentelemetry/api'
import { type BatchMessage, type GcMessage, type OperationMessage, tracing } from '../../diagnostics.ts'
import type { SaveHandler } from '../../save-handler.ts'
import { errorType, Subscriptions } from './subscriptions.ts'

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const SESSIONS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
const GC_SECONDS = [0.01, 0.1, 1, 10, 60, 600, 3600]

const OPERATIONS = ['read', 'write', 'touch', 'destroy'] as const

/** Attribute names. Those that begin with `db` are OpenTelemetry's semantic conventions. */
const OPERATION = 'db.operation.name'
const OUTCOME = 'session_pgsql.outcome'
const SERVER = 'session_pgsql.server'
const ERROR = 'error.type'
const POOL = 'db.client.connection.pool.name'
const STATE = 'db.client.connection.state'

/**
 * Records the metrics of one save handler; docs/metrics.md lists them. If two handlers in one process use the same
 * server, their gauges have the same name and attributes: share one handler instead.
 *
 * @param meterProvider default: the provider that is registered at this time
 * @returns a function that stops the recording
 */
export function recordMetrics(
  // biome-ignore lint/suspicious/noExplicitAny: a handler of any data
  sessions: SaveHandler<any>,
  meterProvider: MeterProvider = metrics.getMeterProvider(),
): () => void {
  const meter = meterProvider.getMeter('session-pgsql')
  // Without a provider it must not subscribe: without subscribers the handler creates no messages.
  if (meter === createNoopMeter()) return () => {}
  const subscriptions = new Subscriptions(sessions)
  const histogram = (name: string, description: string, explicitBucketBoundaries: number[] = SECONDS) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries } })
  const counter = (name: string, unit: string, description: string) =>
    meter.createCounter(name, { description, unit })

  const duration = histogram('session_pgsql.operation.duration', 'Duration of operations on sessions')
  for (const operation of OPERATIONS) {
    subscriptions.on(tracing[operation].asyncEnd, (message: OperationMessage<string>) => {
      duration.record(since(message.at), { [OPERATION]: operation, ...endOf(message) })
    })
  }

  const batchDuration = histogram('session_pgsql.batch.duration', 'Duration of batched statements')
  const queueTime = histogram('session_pgsql.queue.duration', 'Time that operations wait for their statement')
  const batchSize = meter.createHistogram('session_pgsql.batch.size', {
    description: 'Sessions in one statement',
    unit: '{session}',
    advice: { explicitBucketBoundaries: SESSIONS },
  })
  // Without a subscriber to this channel the handler records no times of queueing.
  subscriptions.on(channel('session-pgsql:queued'), () => {})
  subscriptions.on(tracing.batch.asyncEnd, (message: BatchMessage) => {
    const { server, kind, size, orders, at } = message
    const attributes = { [SERVER]: server, [OPERATION]: kind }
    batchDuration.record(since(at), { ...attributes, ...failureOf(message) })
    batchSize.record(size, attributes)
    for (const queued of orders) {
      if (queued !== undefined) queueTime.record((at - queued.at) / 1000, attributes)
    }
  })

  const gcDuration = histogram(
    'session_pgsql.gc.duration',
    'Duration of a garbage collection on one server',
    GC_SECONDS,
  )
  const removed = counter('session_pgsql.gc.removed', '{session}', 'Expired sessions removed or emptied')
  subscriptions.on(tracing.gc.asyncEnd, (message: GcMessage) => {
    const attributes = { [SERVER]: message.server }
    gcDuration.record(since(message.at), { ...attributes, ...endOf(message) })
    removed.add(message.removed ?? 0, attributes)
  })

  const conflicts = counter(
    'session_pgsql.conflicts',
    '{conflict}',
    'Writes that found their session changed by another request',
  )
  const errors = counter('session_pgsql.errors', '{error}', 'Errors in the background')
  const outages = counter(
    'session_pgsql.server.outages',
    '{outage}',
    'Times that a server became unavailable',
  )
  const promotions = counter(
    'session_pgsql.server.promotions',
    '{promotion}',
    'Times that another host of a group became primary',
  )
  const failovers = counter(
    'session_pgsql.failovers',
    '{request}',
    'Requests that a fallback server handled because the home server was down',
  )
  const failbacks = counter(
    'session_pgsql.homecomings',
    '{session}',
    'Sessions moved back to their home server',
  )
  subscriptions.onEvent('conflict', () => conflicts.add(1))
  subscriptions.onEvent<{ error: Error }>('error', ({ error }) =>
    errors.add(1, { [ERROR]: errorType(error) }),
  )
  subscriptions.onEvent<{ server: string }>('serverDown', ({ server }) =>
    outages.add(1, { [SERVER]: server }),
  )
  subscriptions.onEvent<{ server: string }>('promoted', ({ server }) =>
    promotions.add(1, { [SERVER]: server }),
  )
  subscriptions.onEvent<{ from: string }>('failover', ({ from }) => failovers.add(1, { [SERVER]: from }))
  subscriptions.onEvent<{ from: string; outcome: string }>('broughtHome', ({ from, outcome }) =>
    failbacks.add(1, { [SERVER]: from, [OUTCOME]: outcome }),
  )
  // Export zeros from the start: to a monitor, a counter that appears with its first count has not increased.
  conflicts.add(0)
  for (const { name } of sessions.status().servers) {
    for (const one of [removed, outages, promotions, failovers]) one.add(0, { [SERVER]: name })
  }

  const upDownCounter = (name: string, unit: string, description: string) =>
    meter.createObservableUpDownCounter(name, { description, unit })
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(name, { description, unit })

  const active = upDownCounter(
    'session_pgsql.operation.active',
    '{operation}',
    'Operations in progress or waiting',
  )
  const up = gauge(
    'session_pgsql.server.up',
    '{server}',
    'Whether a server responds: 1 or 0; absent before its first use',
  )
  const queue = upDownCounter(
    'session_pgsql.queue.length',
    '{operation}',
    'Operations that wait for a statement on a server',
  )
  const misplaced = gauge(
    'session_pgsql.homecoming.waiting',
    '{session}',
    'Sessions on a server that is not their home server, as far as counted',
  )
  const connections = upDownCounter(
    'db.client.connection.count',
    '{connection}',
    'Connections of a pool, by state',
  )
  const max = upDownCounter(
    'db.client.connection.max',
    '{connection}',
    'The maximum number of connections of a pool',
  )
  const pending = upDownCounter(
    'db.client.connection.pending_requests',
    '{request}',
    'Requests that wait for a connection of a pool',
  )
  const observe = (result: BatchObservableResult): void => {
    const { pending: inProgress, servers } = sessions.status()
    result.observe(active, inProgress)
    for (const { name, health, waiting, pool, homecoming } of servers) {
      const attributes = { [SERVER]: name }
      if (health !== 'unknown') result.observe(up, Number(health === 'up'), attributes)
      result.observe(queue, waiting, attributes)
      if (homecoming !== undefined) result.observe(misplaced, homecoming.waiting, attributes)
      if (pool === undefined) continue
      const ofPool = { [POOL]: name }
      result.observe(connections, pool.idle, { ...ofPool, [STATE]: 'idle' })
      result.observe(connections, pool.size - pool.idle, { ...ofPool, [STATE]: 'used' })
      result.observe(max, pool.max, ofPool)
      result.observe(pending, pool.pending, ofPool)
    }
  }
  const observed: Observable[] = [active, up, queue, misplaced, connections, max, pending]
  meter.addBatchObservableCallback(observe, observed)
  subscriptions.add(() => meter.removeBatchObservableCallback(observe, observed))
  return subscriptions.stop
}

function since(at: number): number {
  return (performance.now() - at) / 1000
}

function endOf(message: { outcome?: string; error?: unknown }): Attributes {
  return message.outcome === undefined ? failureOf(message) : { [OUTCOME]: message.outcome }
}

function failureOf({ error }: { error?: unknown }): Attributes {
  return error === undefined ? {} : { [ERROR]: errorType(error) }
}
