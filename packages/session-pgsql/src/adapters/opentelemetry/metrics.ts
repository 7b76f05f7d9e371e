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

/** Attributes; those of databases are OpenTelemetry's semantic conventions. */
const OPERATION = 'db.operation.name'
const OUTCOME = 'session_pgsql.outcome'
const SERVER = 'session_pgsql.server'
const ERROR = 'error.type'
const POOL = 'db.client.connection.pool.name'
const STATE = 'db.client.connection.state'

/**
 * Records the metrics of one save handler; docs/metrics.md has their list. Two handlers that use the same server
 * in one process have their gauges under one name: share a handler instead.
 *
 * @param meterProvider default: the registered one, which must be there already
 * @returns what ends it
 */
export function recordMetrics(
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  sessions: SaveHandler<any>,
  meterProvider: MeterProvider = metrics.getMeterProvider(),
): () => void {
  const meter = meterProvider.getMeter('session-pgsql')
  // Where nothing is recorded, nobody listens, and no message is made.
  if (meter === createNoopMeter()) return () => {}
  const subscriptions = new Subscriptions(sessions)
  const seconds = (name: string, description: string, explicitBucketBoundaries: number[] = SECONDS) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries } })
  const counter = (name: string, unit: string, description: string) =>
    meter.createCounter(name, { description, unit })

  const duration = seconds('session_pgsql.operation.duration', 'Duration of operations on sessions')
  for (const operation of OPERATIONS) {
    subscriptions.on(tracing[operation].asyncEnd, (message: OperationMessage<string>) => {
      duration.record(since(message.at), { [OPERATION]: operation, ...endOf(message) })
    })
  }

  const batchDuration = seconds('session_pgsql.batch.duration', 'Duration of statements for many sessions')
  const waited = seconds(
    'session_pgsql.queue.duration',
    'Time that operations wait for the statement they are in',
  )
  const batchSize = meter.createHistogram('session_pgsql.batch.size', {
    description: 'Sessions in one statement',
    unit: '{session}',
    advice: { explicitBucketBoundaries: SESSIONS },
  })
  // Somebody must listen, or nobody notes since when an order waits.
  subscriptions.on(channel('session-pgsql:queued'), () => {})
  subscriptions.on(tracing.batch.asyncEnd, (message: BatchMessage) => {
    const { server, kind, size, orders, at } = message
    const attributes = { [SERVER]: server, [OPERATION]: kind }
    batchDuration.record(since(at), { ...attributes, ...failureOf(message) })
    batchSize.record(size, attributes)
    for (const order of orders) if (order !== undefined) waited.record((at - order.at) / 1000, attributes)
  })

  const gcDuration = seconds(
    'session_pgsql.gc.duration',
    'Duration of garbage collections of one server',
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
    'Writes that found a session changed by somebody else',
  )
  const errors = counter('session_pgsql.errors', '{error}', 'Errors that no caller waits for')
  const outages = counter('session_pgsql.server.outages', '{outage}', 'Times that a server went down')
  const promotions = counter(
    'session_pgsql.server.promotions',
    '{promotion}',
    'Times that another host of a group became the primary',
  )
  const failovers = counter(
    'session_pgsql.failovers',
    '{request}',
    'Requests served by another server than the home, which is down',
  )
  const homecomings = counter('session_pgsql.homecomings', '{session}', 'Sessions brought to their home')
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
    homecomings.add(1, { [SERVER]: from, [OUTCOME]: outcome }),
  )
  // From the beginning: a counter that comes into being with its first count has not gone up, to who watches it.
  conflicts.add(0)
  for (const { name } of sessions.status().servers) {
    for (const one of [removed, outages, promotions, failovers]) one.add(0, { [SERVER]: name })
  }

  const active = meter.createObservableUpDownCounter('session_pgsql.operation.active', {
    description: 'Operations under way or waiting',
    unit: '{operation}',
  })
  const up = meter.createObservableGauge('session_pgsql.server.up', {
    description: 'Whether a server answers: 1 or 0; absent until it was first used',
    unit: '{server}',
  })
  const queue = meter.createObservableUpDownCounter('session_pgsql.queue.length', {
    description: 'What operations want of a server that is in no statement yet',
    unit: '{operation}',
  })
  const away = meter.createObservableGauge('session_pgsql.homecoming.waiting', {
    description: 'Sessions that lie on a server and belong elsewhere, as far as they were counted',
    unit: '{session}',
  })
  const connections = meter.createObservableUpDownCounter('db.client.connection.count', {
    description: 'Connections of a pool, by state',
    unit: '{connection}',
  })
  const most = meter.createObservableUpDownCounter('db.client.connection.max', {
    description: 'Most connections that a pool opens',
    unit: '{connection}',
  })
  const pending = meter.createObservableUpDownCounter('db.client.connection.pending_requests', {
    description: 'Requests that wait for a connection of a pool',
    unit: '{request}',
  })
  const observe = (result: BatchObservableResult): void => {
    const { pending: underWay, servers } = sessions.status()
    result.observe(active, underWay)
    for (const { name, health, waiting, pool, homecoming } of servers) {
      const attributes = { [SERVER]: name }
      if (health !== 'unknown') result.observe(up, Number(health === 'up'), attributes)
      result.observe(queue, waiting, attributes)
      if (homecoming !== undefined) result.observe(away, homecoming.waiting, attributes)
      if (pool === undefined) continue
      const ofPool = { [POOL]: name }
      result.observe(connections, pool.idle, { ...ofPool, [STATE]: 'idle' })
      result.observe(connections, pool.size - pool.idle, { ...ofPool, [STATE]: 'used' })
      result.observe(most, pool.max, ofPool)
      result.observe(pending, pool.pending, ofPool)
    }
  }
  const observed: Observable[] = [active, up, queue, away, connections, most, pending]
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
