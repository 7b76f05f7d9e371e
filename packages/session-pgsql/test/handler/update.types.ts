import { expectTypeOf } from 'vitest'
import type { SaveHandler, SessionRecord } from '../../src/index.ts'

interface Shop {
  cart: string[]
  visits: number
}

// Compiled, never run: the data type flows through `update`.
export async function check(sessions: SaveHandler<Shop>, untyped: SaveHandler): Promise<void> {
  const popped = await sessions.update('id', (data) => {
    expectTypeOf(data).toEqualTypeOf<Shop>()
    return data.cart.pop()
  })
  expectTypeOf(popped.value).toEqualTypeOf<string | undefined>()
  expectTypeOf(popped.session).toEqualTypeOf<SessionRecord<Shop> | undefined>()
  await sessions.update('id', (data) => {
    data.visits++
  })
  // @ts-expect-error: visits is a number
  await sessions.update('id', (data) => data.visits.trim())
  await sessions.update('id', (data) => ({ ...data, visits: 0 }), { base: null, lifetime: 60 })
  // @ts-expect-error: an update has no conflicts
  await sessions.update('id', () => {}, { conflict: 'error' })
  await untyped.update('id', (data) => {
    data.anything = 1
  })
}
