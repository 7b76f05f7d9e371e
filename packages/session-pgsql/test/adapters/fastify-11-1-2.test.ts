import { expect, test, vi } from 'vitest'
import { describeGuarantees, startExample } from './guarantees.ts'

// Up to this version, `regenerate` leaves the session of the old id in the store.
vi.mock('@fastify/session', () => import('fastify-session-11-1-2'))

describeGuarantees({
  name: '@fastify/session 11.1.2',
  lifetime: 3600,
  only: ['kept', 'new-id', 'new-id-again', 'new-id-slow', 'sign-out'],
  start: (options, pause) => startExample('fastify', options, pause),
})

test('has tested version 11.1.2', async () => {
  const mocked = await import('@fastify/session')
  expect(mocked.default).toBe((await import('fastify-session-11-1-2')).default)
})
