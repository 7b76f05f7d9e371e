import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, expect, test } from 'vitest'
import { EVENTS, tracing } from '../../src/diagnostics.ts'
import type { BatchMessage, GcMessage, QueuedMessage } from '../../src/index.ts'
import { describeHandler, errorOf, expireAgo, type Handler } from './kit.ts'

interface Received {
  readonly name: string
  readonly message: Record<string, unknown>
}

const OPERATIONS = ['read', 'write', 'touch', 'destroy'] as const
const TRACED = Object.keys(tracing)
const STAGES = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

/** Subscribes to all messages of one handler. A message is complete when its operation has ended. */
function listen(handler: Handler): Received[] {
  const received: Received[] = []
  const names = [
    ...TRACED.flatMap((name) => STAGES.map((stage) => `tracing:session-pgsql:${name}:${stage}`)),
    ...['queued', ...EVENTS].map((name) => `session-pgsql:${name}`),
  ]
  for (const name of names) {
    const listener = (data: unknown): void => {
      const message = data as Record<string, unknown>
      if (message.handler === handler) received.push({ name: name.replace(/^.*session-pgsql:/, ''), message })
    }
    subscribe(name, listener)
    stops.push(() => unsubscribe(name, listener))
  }
  return received
}

function named(received: readonly Received[], name: string): Received['message'][] {
  return received.flatMap((one) => (one.name === name ? [one.message] : []))
}

/** Returns the outcomes of the operations, in the order in which they ended. */
function outcomes(received: readonly Received[]): unknown[] {
  const ends = received.filter(({ name }) => OPERATIONS.some((operation) => name === `${operation}:asyncEnd`))
  return ends.map(({ name, message }) => `${name.split(':')[0]} ${message.outcome}`)
}

describeHandler('diagnostics channels', (kit) => {
  test('every operation publishes its start, its end and its outcome', async () => {
    const sessions = kit.open({ shortCircuit: true, conflict: 'merge' })
    const received = listen(sessions)
    const id = kit.id()
    await sessions.read(id)
    const base = (await sessions.write(id, { a: 1 })).session
    await sessions.write(id, { a: 1 }, { base })
    const { session } = await sessions.write(id, { a: 2 }, { base })
    await sessions.write(id, { a: 1, b: 1 }, { base, seen: { a: 1 } })
    await sessions.read(id)
    await sessions.touch(id, { base: session })
    await sessions.touch(id)
    await sessions.setField(id, 'ada')
    await sessions.destroy(id)
    await sessions.destroy(id)
    await sessions.touch(id)
    await sessions.write(id, { a: 3 }, { base })
    expect(outcomes(received)).toEqual([
      'read absent',
      'write created',
      'write skipped',
      'write updated',
      'write merged',
      'read found',
      'touch skipped',
      'touch touched',
      'touch touched',
      'destroy destroyed',
      'destroy absent',
      'touch absent',
      'write gone',
    ])
    expect(named(received, 'write:start')).toEqual(named(received, 'write:asyncEnd'))
    expect(named(received, 'conflict')).toHaveLength(1)
    expect(named(received, 'gone')).toHaveLength(1)
  })

  test('a failed operation publishes its error', async () => {
    const sessions = kit.open({ conflict: 'error' })
    const id = kit.id()
    const base = (await sessions.write(id, { a: 1 })).session
    await sessions.write(id, { a: 2 }, { base })
    const received = listen(sessions)
    const error = await errorOf(sessions.write(id, { b: 3 }, { base }))
    expect(named(received, 'write:error')[0]?.error).toBe(error)
    expect(named(received, 'write:asyncEnd')[0]?.outcome).toBeUndefined()
  })

  test('a batch publishes its requests, and since when each has waited', async () => {
    const sessions = kit.open()
    await sessions.open()
    const received = listen(sessions)
    await Promise.all(Array.from({ length: 5 }, () => sessions.read(kit.id())))
    const queued = named(received, 'queued') as unknown as QueuedMessage[]
    const batches = named(received, 'batch:start') as unknown as BatchMessage[]
    expect(queued).toHaveLength(5)
    expect(batches.map(({ size }) => size)).toEqual([5])
    expect(batches.flatMap(({ orders }) => orders)).toEqual(queued)
    const [server] = sessions.status().servers
    for (const batch of batches) {
      expect(batch).toMatchObject({ kind: 'read', server: server?.name })
      for (const request of batch.orders) expect(request?.at).toBeLessThanOrEqual(batch.at)
    }
  })

  test('a batch has at most 512 requests, and at most a million characters of data', async () => {
    const sessions = kit.open()
    await sessions.open()
    const received = listen(sessions)
    const sizes = (kind: string): number[] =>
      (named(received, 'batch:start') as unknown as BatchMessage[])
        .filter((batch) => batch.kind === kind)
        .map(({ size }) => size)
    await Promise.all(Array.from({ length: 2000 }, () => sessions.read(kit.id())))
    expect(sizes('read').reduce((sum, size) => sum + size)).toBe(2000)
    expect(Math.max(...sizes('read'))).toBe(512)
    const text = 'x'.repeat(300_000)
    await Promise.all(Array.from({ length: 12 }, () => sessions.write(kit.id(), { text }, { base: null })))
    expect(sizes('put').reduce((sum, size) => sum + size)).toBe(12)
    expect(Math.max(...sizes('put'))).toBe(3)
  })

  test('garbage collection publishes the number of removed sessions', async () => {
    const sessions = kit.open()
    const received = listen(sessions)
    const id = kit.id()
    await sessions.write(id, { a: 1 })
    await expireAgo(kit, id, 7200)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    const removed = await sessions.gc()
    expect(removed).toBeGreaterThan(0)
    const [message] = named(received, 'gc:asyncEnd') as unknown as GcMessage[]
    expect(message).toMatchObject({ removed, outcome: 'done', server: sessions.status().servers[0]?.name })
  })

  test('no message contains an id, data or an address', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const received = listen(sessions)
    const secrets = [kit.id(), 'secret-data', 'secret-field', '203.0.113.99'] as const
    const [id, data, custom, address] = secrets
    const base = (await sessions.write(id, { data }, { custom, address })).session
    await sessions.write(id, { data, more: data }, { base, address })
    await sessions.write(id, { data, other: data }, { base, address })
    await sessions.read(id)
    await sessions.touch(id, { base, custom })
    await sessions.addError(id, 'error', data)
    await sessions.destroy(id)
    await sessions.write(id, { data: 1 }, { base })
    await errorOf(sessions.write(id, { data: Symbol(data) as never }, { lifetime: -1 }))
    expect(received.length).toBeGreaterThan(50)
    for (const { name, message } of received) {
      const { handler: _, ...rest } = message
      const text = JSON.stringify(rest, (_key, value) =>
        value instanceof Error ? `${value.stack} ${value.message}` : value === sessions ? '' : value,
      )
      for (const secret of secrets) expect(text, name).not.toContain(secret)
    }
  })

  test('an operation runs in the async context that a subscriber bound, until it is queued for a batch', async () => {
    const { AsyncLocalStorage } = await import('node:async_hooks')
    const store = new AsyncLocalStorage<object>()
    const read = tracingChannel<object, object>('session-pgsql:read')
    read.start.bindStore(store, (message) => message)
    stops.push(() => read.start.unbindStore(store))
    const sessions = kit.open()
    const contexts: unknown[] = []
    const onQueued = (): void => {
      contexts.push(store.getStore())
    }
    const queued = channel('session-pgsql:queued')
    queued.subscribe(onQueued)
    stops.push(() => queued.unsubscribe(onQueued))
    await Promise.all([sessions.read(kit.id()), sessions.read(kit.id())])
    expect(contexts).toHaveLength(2)
    expect(new Set(contexts).size).toBe(2)
    expect(contexts).toMatchObject([
      { handler: sessions, outcome: 'absent' },
      { handler: sessions, outcome: 'absent' },
    ])
  })
})
