import session, { MemoryStore } from 'express-session'
import { expect, test } from 'vitest'
import {
  type CallbackStore,
  type ConformanceSubject,
  checkConformance,
  conformanceCases,
  expressPlace,
} from '../../src/testing.ts'

/** Proves that the suite can fail: the cases that this store fails are known. */
function memorySubject(): ConformanceSubject {
  const oneProcess = 'It stores sessions in the memory of one process'
  return {
    name: 'MemoryStore',
    ...expressPlace(session, () => ({ store: new MemoryStore() as unknown as CallbackStore })),
    cannot: { restart: oneProcess, 'two-processes': oneProcess, 'sign-out-processes': oneProcess },
  }
}

test('reports for each case whether it holds, fails, cannot hold or was not tried', async () => {
  const reported: string[] = []
  const outcomes = await checkConformance(memorySubject(), ({ id }) => reported.push(id))
  const idsOf = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).map(({ id }) => id)
  expect(idsOf('holds')).toEqual([
    'kept',
    'characters',
    'deletion-last',
    'no-change',
    'two-users',
    'new-id',
    'new-id-again',
    'ended-id',
    'callback-once',
  ])
  expect(idsOf('fails')).toEqual([
    'two-keys',
    'ten-keys',
    'deleted-key',
    'deletion-first',
    'list-added',
    'list-begun',
    'list-removed',
    'list-removed-last',
    'list-emptied',
    'list-deleted',
    'list-elements',
    'two-fields',
    'sign-out',
    'new-id-slow',
  ])
  expect(idsOf('cannot')).toEqual(['restart', 'two-processes', 'sign-out-processes'])
  expect(reported).toEqual(outcomes.map(({ id }) => id))
  const reasons = Object.fromEntries(outcomes.map(({ id, reason }) => [id, reason]))
  expect(reasons).toMatchObject({
    restart: 'It stores sessions in the memory of one process',
    expired: 'The subject has no passTime',
    away: 'The subject has no faults.away',
    everywhere: 'The subject has no site.users',
    counter: 'The subject has no route POST /count',
  })
  expect(reasons['two-keys']).toMatch(/right/)
})

test('detects a callback that is called twice, and a session that is lost by it', async () => {
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

test('every case has a unique id and a unique sentence', () => {
  const cases = conformanceCases(memorySubject())
  expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length)
  expect(new Set(cases.map(({ sentence }) => sentence)).size).toBe(cases.length)
  for (const { sentence } of cases) expect(sentence).toMatch(/^[A-Z].*\.$/)
})
