import session, { MemoryStore } from 'express-session'
import { expect, test } from 'vitest'
import {
  type CallbackStore,
  type ConformanceSubject,
  checkConformance,
  conformanceCases,
  expressPlace,
} from '../../src/testing.ts'

/** A suite that nothing can fail is worth nothing: this store is known to fail in these, and in no others. */
function memorySubject(): ConformanceSubject {
  const one = 'It is the memory of one process'
  return {
    name: 'MemoryStore',
    ...expressPlace(session, () => ({ store: new MemoryStore() as unknown as CallbackStore })),
    cannot: { restart: one, 'two-processes': one, 'sign-out-processes': one },
  }
}

test('tells what holds from what does not, and from what was not tried', async () => {
  const told: string[] = []
  const outcomes = await checkConformance(memorySubject(), ({ id }) => told.push(id))
  const idsOf = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).map(({ id }) => id)
  expect(idsOf('holds')).toEqual([
    'kept',
    'characters',
    'deletion-last',
    'no-change',
    'new-id',
    'ended-id',
    'callback-once',
  ])
  expect(idsOf('fails')).toEqual([
    'two-keys',
    'ten-keys',
    'deleted-key',
    'deletion-first',
    'sign-out',
    'new-id-slow',
  ])
  expect(idsOf('cannot')).toEqual(['restart', 'two-processes', 'sign-out-processes'])
  expect(told).toEqual(outcomes.map(({ id }) => id))
  const reasons = Object.fromEntries(outcomes.map(({ id, reason }) => [id, reason]))
  expect(reasons).toMatchObject({
    restart: 'It is the memory of one process',
    expired: 'The subject has no passTime',
    away: 'The subject has no faults.away',
    everywhere: 'The subject has no site.users',
  })
  expect(reasons['two-keys']).toMatch(/right/)
})

test('a callback that is called twice, and a session that it takes away, are found', async () => {
  class Careless extends MemoryStore {
    override get(id: string, callback: Parameters<MemoryStore['get']>[1]): void {
      super.get(id, (error, data) => {
        try {
          callback(error, data)
        } catch (thrown) {
          this.destroy(id, () => callback(thrown))
        }
      })
    }
  }
  const subject = {
    name: 'careless',
    ...expressPlace(session, () => ({ store: new Careless() as unknown as CallbackStore })),
  }
  const [once] = conformanceCases(subject).filter(({ id }) => id === 'callback-once')
  await expect(once?.run()).rejects.toThrow(/get/)
  const listeners = process.listenerCount('uncaughtException')
  await once?.run().catch(() => {})
  expect(process.listenerCount('uncaughtException')).toBe(listeners)
})

test('every case has an id and a sentence of its own', () => {
  const cases = conformanceCases(memorySubject())
  expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length)
  expect(new Set(cases.map(({ sentence }) => sentence)).size).toBe(cases.length)
  for (const { sentence } of cases) expect(sentence).toMatch(/^[A-Z].*\.$/)
})
