import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider, type MetricData, MetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { instrument, recordMetrics, recordTraces } from '../../src/adapters/opentelemetry.ts'
import { isTraced, tracing } from '../../src/diagnostics.ts'
import { describeHandler, errorOf, expireAgo, type Handler } from '../handler/kit.ts'

class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** Records one handler's metrics with OpenTelemetry's SDK. */
function measure(sessions: Handler) {
  const reader = new Reader()
  const provider = new MeterProvider({ readers: [reader] })
  const stop = recordMetrics(sessions, provider)
  stops.push(stop, () => provider.shutdown())
  const all = async (): Promise<MetricData[]> => {
    const { resourceMetrics } = await reader.collect()
    return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
  }
  return {
    stop,
    all,
    /** Returns the value or count of each data point of a metric, by its attributes in one text. */
    async points(name: string): Promise<Record<string, number>> {
      const metric = (await all()).find(({ descriptor }) => descriptor.name === name)
      const points = (metric?.dataPoints ?? []).map(({ attributes, value }) => [
        Object.values(attributes).join(' '),
        typeof value === 'number' ? value : value.count,
      ])
      return Object.fromEntries(points)
    },
  }
}

describeHandler('OpenTelemetry', (kit) => {
  test('counts operations by outcome, batches, conflicts and connections', async () => {
    const sessions = kit.open({ shortCircuit: true, conflict: 'error' })
    const { points } = measure(sessions)
    const id = kit.id()
    await sessions.read(id)
    const base = (await sessions.write(id, { a: 1 })).session
    await sessions.write(id, { a: 1 }, { base })
    await sessions.write(id, { a: 2 }, { base })
    await errorOf(sessions.write(id, { a: 3 }, { base }))
    await sessions.touch(id)
    await sessions.destroy(id)
    await sessions.write(id, { a: 4 }, { base })
    expect(await points('session_pgsql.operation.duration')).toEqual({
      'read absent': 1,
      'write created': 1,
      'write skipped': 1,
      'write updated': 1,
      'write CONFLICT': 1,
      'touch touched': 1,
      'destroy destroyed': 1,
      'write gone': 1,
    })
    expect(await points('session_pgsql.conflicts')).toEqual({ '': 1 })
    const server = sessions.status().servers[0]?.name
    const sent = await points('session_pgsql.batch.size')
    expect(sent).toMatchObject({
      [`${server} read`]: 1,
      [`${server} destroy`]: 1,
      [`${server} quickSave`]: 3,
    })
    expect(await points('session_pgsql.batch.duration')).toEqual(sent)
    expect(await points('session_pgsql.queue.duration')).toEqual(sent)
    expect(await points('session_pgsql.operation.active')).toEqual({ '': 0 })
    expect(await points('session_pgsql.server.up')).toEqual({ [`${server}`]: 1 })
    expect(await points('session_pgsql.queue.length')).toEqual({ [`${server}`]: 0 })
    const pool = await points('db.client.connection.max')
    expect(pool).toEqual(kit.server.kind !== 'pglite' ? { [`${server}`]: 20 } : {})
  })

  test('measures garbage collection', async () => {
    const sessions = kit.open()
    const { points } = measure(sessions)
    const id = kit.id()
    await sessions.write(id, {})
    await expireAgo(kit, id, 7200)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    const removed = await sessions.gc()
    const server = sessions.status().servers[0]?.name
    expect(await points('session_pgsql.gc.removed')).toEqual({ [`${server}`]: removed })
    expect(await points('session_pgsql.gc.duration')).toEqual({ [`${server} done`]: 1 })
  })

  test('no name or attribute contains an id, data or an address, and nothing is recorded after the stop', async () => {
    const sessions = kit.open()
    const { all, points, stop } = measure(sessions)
    const [id, data, custom, address] = [kit.id(), 'secret-data', 'secret-field', '203.0.113.99'] as const
    const base = (await sessions.write(id, { data }, { custom, address })).session
    await sessions.write(id, { data, a: 1 }, { base })
    await sessions.write(id, { data, b: 1 }, { base })
    await sessions.addError(id, 'error', data)
    await sessions.destroy(id)
    const text = JSON.stringify(await all())
    expect(text).toContain('session_pgsql.operation.duration')
    for (const secret of [id, data, custom, address]) expect(text).not.toContain(secret)

    const before = await points('session_pgsql.operation.duration')
    stop()
    await sessions.read(id)
    expect(await points('session_pgsql.operation.duration')).toEqual(before)
  })

  test('does not count the operations of another handler', async () => {
    const [sessions, other] = [kit.open(), kit.open()]
    const { points } = measure(sessions)
    await sessions.read(kit.id())
    await other.read(kit.id())
    expect(await points('session_pgsql.operation.duration')).toEqual({ 'read absent': 1 })
  })

  test('does not subscribe without an SDK', async () => {
    metrics.disable()
    trace.disable()
    const stop = instrument(kit.open())
    expect(Object.values(tracing).map(isTraced)).toEqual(Array(6).fill(false))
    stop()
  })

  test('records metrics and traces with a registered SDK until it is stopped', async () => {
    const reader = new Reader()
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
    const exporter = new InMemorySpanExporter()
    const spanProcessors = [new SimpleSpanProcessor(exporter)]
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }))
    stops.push(
      () => metrics.disable(),
      () => trace.disable(),
    )
    const sessions = kit.open()
    const stop = instrument(sessions)
    await sessions.read(kit.id())
    stop()
    await sessions.read(kit.id())
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual([
      'session batch read',
      'session read',
    ])
    const { resourceMetrics } = await reader.collect()
    const [duration] = resourceMetrics.scopeMetrics[0]?.metrics ?? []
    expect(duration?.dataPoints.map(({ value }) => (value as { count: number }).count)).toEqual([1])
    expect(Object.values(tracing).map(isTraced)).toEqual(Array(6).fill(false))
  })
})

describeHandler('OpenTelemetry spans', (kit) => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const tracer = provider.getTracer('test')
  beforeAll(() => {
    context.disable()
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  })
  beforeEach(() => exporter.reset())

  const spans = (name: string) => exporter.getFinishedSpans().filter((span) => span.name === name)

  /** Runs work within a span, as a request. */
  function request<T>(name: string, work: () => Promise<T>): Promise<T> {
    return tracer.startActiveSpan(name, (span) => work().finally(() => span.end()))
  }

  test('an operation is a child of its caller’s span, and a statement a child of the operation’s', async () => {
    const sessions = kit.open()
    await sessions.open()
    stops.push(recordTraces(sessions, provider))
    const id = kit.id()
    await request('GET /', async () => {
      await sessions.write(id, { a: 1 })
      await sessions.read(id)
    })
    const [root] = spans('GET /')
    const [write] = spans('session write')
    const [read] = spans('session read')
    for (const span of [write, read]) {
      expect(span?.parentSpanContext?.spanId).toBe(root?.spanContext().spanId)
      expect(span?.spanContext().traceId).toBe(root?.spanContext().traceId)
    }
    expect(write?.attributes).toEqual({
      'db.system.name': 'postgresql',
      'db.operation.name': 'write',
      'session_pgsql.outcome': 'created',
    })
    const [batch] = spans('session batch read')
    expect(batch?.parentSpanContext?.spanId).toBe(read?.spanContext().spanId)
    expect(batch?.attributes).toMatchObject({ 'db.operation.batch.size': 1, 'db.operation.name': 'read' })
  })

  test('a statement for several requests has links to all of them', async () => {
    const sessions = kit.open()
    await sessions.open()
    stops.push(recordTraces(sessions, provider))
    const names = ['GET /a', 'GET /b', 'GET /c']
    await Promise.all(names.map((name) => request(name, () => sessions.read(kit.id()))))
    const [batch, ...more] = spans('session batch read')
    expect(more).toEqual([])
    const reads = spans('session read').map((span) => span.spanContext().spanId)
    expect(reads).toHaveLength(3)
    const roots = names.map((name) => spans(name)[0]?.spanContext().spanId)
    expect(spans('session read').map((span) => span.parentSpanContext?.spanId)).toEqual(roots)
    const joined = [
      batch?.parentSpanContext?.spanId,
      ...(batch?.links ?? []).map((link) => link.context.spanId),
    ]
    expect(joined).toEqual(reads)
  })

  test('records the code of an error, not its message', async () => {
    const sessions = kit.open({ conflict: 'error' })
    stops.push(recordTraces(sessions, provider))
    const id = kit.id()
    const base = (await sessions.write(id, { a: 1 })).session
    await sessions.write(id, { a: 2 }, { base })
    await errorOf(sessions.write(id, { a: 3 }, { base }))
    const failed = spans('session write').at(-1)
    expect(failed?.attributes['error.type']).toBe('CONFLICT')
    expect(failed?.status).toEqual({ code: 2 })
    expect(failed?.events).toEqual([])
  })

  test('the span of a garbage collection has no parent', async () => {
    const sessions = kit.open()
    stops.push(recordTraces(sessions, provider))
    await request('GET /', () => sessions.gc())
    const [gc] = spans('session gc')
    expect(gc?.parentSpanContext).toBeUndefined()
    expect(gc?.attributes).toMatchObject({ 'session_pgsql.outcome': 'done', 'session_pgsql.gc.removed': 0 })
  })

  test('no span contains an id, data or an address', async () => {
    const sessions = kit.open()
    stops.push(recordTraces(sessions, provider))
    const [id, data, custom, address] = [kit.id(), 'secret-data', 'secret-field', '203.0.113.99'] as const
    const base = (await sessions.write(id, { data }, { custom, address })).session
    await sessions.write(id, { data, a: 1 }, { base })
    await sessions.write(id, { data, b: 1 }, { base })
    await sessions.touch(id)
    await sessions.destroy(id)
    const told = exporter.getFinishedSpans().map(({ name, attributes, events, status }) => ({
      name,
      attributes,
      events,
      status,
    }))
    expect(told.length).toBeGreaterThan(8)
    for (const secret of [id, data, custom, address]) expect(JSON.stringify(told)).not.toContain(secret)
  })
})
