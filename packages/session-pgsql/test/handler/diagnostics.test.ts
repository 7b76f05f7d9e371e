import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, expect, test } from 'vitest'
import { EVENTS, tracing } from '../../src/diagnostics.ts'
import type { BatchMessage, GcMessage, QueuedMessage } from '../../src/index.ts'
import { describeHandler, errorOf, expireAgo, type Handler } from './kit.ts'

interface Told {
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

/** Listens to everything that one handler tells. A message is kept as it is at its end. */
function listen(handler: Handler): Told[] {
  const heard: Told[] = []
  const names = [
    ...TRACED.flatMap((name) => STAGES.map((stage) => `tracing:session-pgsql:${name}:${stage}`)),
    ...['queued', ...EVENTS].map((name) => `session-pgsql:${name}`),
  ]
  for (const name of names) {
    const hear = (message: unknown): void => {
      const about = message as Record<string, unknown>
      if (about.handler === handler)
        heard.push({ name: name.replace(/^.*session-pgsql:/, ''), message: about })
    }
    subscribe(name, hear)
    stops.push(() => unsubscribe(name, hear))
  }
  return heard
}

function named(heard: readonly Told[], name: string): Told['message'][] {
  return heard.flatMap((told) => (told.name === name ? [told.message] : []))
}

/** How the operations ended, in their order. */
function outcomes(heard: readonly Told[]): unknown[] {
  const ends = heard.filter(({ name }) => OPERATIONS.some((operation) => name === `${operation}:asyncEnd`))
  return ends.map(({ name, message }) => `${name.split(':')[0]} ${message.outcome}`)
}

describeHandler('diagnostics channels', (kit) => {
  test('every operation tells of its beginning, its end and its outcome', async () => {
    const sessions = kit.open({ shortCircuit: true, conflict: 'merge' })
    const heard = listen(sessions)
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
    expect(outcomes(heard)).toEqual([
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
    expect(named(heard, 'write:start')).toEqual(named(heard, 'write:asyncEnd'))
    expect(named(heard, 'conflict')).toHaveLength(1)
    expect(named(heard, 'gone')).toHaveLength(1)
  })

  test('a failure tells its error', async () => {
    const sessions = kit.open({ conflict: 'error' })
    const id = kit.id()
    const base = (await sessions.write(id, { a: 1 })).session
    await sessions.write(id, { a: 2 }, { base })
    const heard = listen(sessions)
    const error = await errorOf(sessions.write(id, { b: 3 }, { base }))
    expect(named(heard, 'write:error')[0]?.error).toBe(error)
    expect(named(heard, 'write:asyncEnd')[0]?.outcome).toBeUndefined()
  })

  test('a batch tells what it is made of, and since when that has waited', async () => {
    const sessions = kit.open()
    await sessions.open()
    const heard = listen(sessions)
    await Promise.all(Array.from({ length: 5 }, () => sessions.read(kit.id())))
    const queued = named(heard, 'queued') as unknown as QueuedMessage[]
    const batches = named(heard, 'batch:start') as unknown as BatchMessage[]
    expect(queued).toHaveLength(5)
    expect(batches.map(({ size }) => size)).toEqual([5])
    expect(batches.flatMap(({ orders }) => orders)).toEqual(queued)
    const [server] = sessions.status().servers
    for (const batch of batches) {
      expect(batch).toMatchObject({ kind: 'read', server: server?.name })
      for (const order of batch.orders) expect(order?.at).toBeLessThanOrEqual(batch.at)
    }
  })

  test('a batch is bounded: 512 orders, and a million characters of data', async () => {
    const sessions = kit.open()
    await sessions.open()
    const heard = listen(sessions)
    const sizes = (kind: string): number[] =>
      (named(heard, 'batch:start') as unknown as BatchMessage[])
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

  test('garbage collection tells how much it removed', async () => {
    const sessions = kit.open()
    const heard = listen(sessions)
    const id = kit.id()
    await sessions.write(id, { a: 1 })
    await expireAgo(kit, id, 7200)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    const removed = await sessions.gc()
    expect(removed).toBeGreaterThan(0)
    const [told] = named(heard, 'gc:asyncEnd') as unknown as GcMessage[]
    expect(told).toMatchObject({ removed, outcome: 'done', server: sessions.status().servers[0]?.name })
  })

  test('no message holds an id, data or an address', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const heard = listen(sessions)
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
    expect(heard.length).toBeGreaterThan(50)
    for (const { name, message } of heard) {
      const { handler: _, ...rest } = message
      const text = JSON.stringify(rest, (_key, value) =>
        value instanceof Error ? `${value.stack} ${value.message}` : value === sessions ? '' : value,
      )
      for (const secret of secrets) expect(text, name).not.toContain(secret)
    }
  })

  test('an operation runs in the context that a listener gives it, up to its place in the queue', async () => {
    const { AsyncLocalStorage } = await import('node:async_hooks')
    const store = new AsyncLocalStorage<object>()
    const read = tracingChannel<object, object>('session-pgsql:read')
    read.start.bindStore(store, (message) => message)
    stops.push(() => read.start.unbindStore(store))
    const sessions = kit.open()
    const places: unknown[] = []
    const hear = (): void => {
      places.push(store.getStore())
    }
    const queued = channel('session-pgsql:queued')
    queued.subscribe(hear)
    stops.push(() => queued.unsubscribe(hear))
    await Promise.all([sessions.read(kit.id()), sessions.read(kit.id())])
    expect(places).toHaveLength(2)
    expect(new Set(places).size).toBe(2)
    expect(places).toMatchObject([
      { handler: sessions, outcome: 'absent' },
      { handler: sessions, outcome: 'absent' },
    ])
  })
})
