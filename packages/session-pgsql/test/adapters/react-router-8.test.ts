import * as host from 'react-router'
import { expect, test, vi } from 'vitest'
import { describeReactRouter } from './react-router.ts'

vi.mock('react-router', () => import('react-router-8'))

describeReactRouter('React Router 8')

test('it is version 8 that was tested', async () => {
  expect(host.createSessionStorage).toBe((await import('react-router-8')).createSessionStorage)
})
