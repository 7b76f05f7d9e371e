import type { SessionStorage } from 'react-router'
import type { SessionStorage as SessionStorage8 } from 'react-router-8'
import { expectTypeOf, test } from 'vitest'
import type { PgsqlSessionStorage } from '../../src/adapters/react-router.ts'
import { describeReactRouter } from './react-router.ts'

describeReactRouter('React Router 7')

test('fits the SessionStorage of React Router', () => {
  interface Visitor {
    user: string
  }
  expectTypeOf<PgsqlSessionStorage<Visitor, { error: string }>>().toExtend<
    SessionStorage<Visitor, { error: string }>
  >()
  expectTypeOf<PgsqlSessionStorage<Visitor>>().toExtend<SessionStorage8<Visitor>>()
})
