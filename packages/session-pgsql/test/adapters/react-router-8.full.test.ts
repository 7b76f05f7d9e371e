import { expect, test, vi } from 'vitest'
import { describeReactRouter } from './react-router.ts'

const { used } = vi.hoisted(() => ({ used: { handlers: 0 } }))

/** Replaces version 7 with version 8, in the test and in the example, which has its own copy. */
async function version8() {
  const original = await import('react-router-8')
  return {
    ...original,
    createStaticHandler(...options: Parameters<typeof original.createStaticHandler>) {
      used.handlers++
      return original.createStaticHandler(...options)
    },
  }
}
vi.mock('react-router', version8)
vi.mock('../../../../examples/react-router/node_modules/react-router', version8)

describeReactRouter('React Router 8')

test('has tested version 8, also in the example', async () => {
  const mocked = await import('react-router')
  expect(mocked.createSessionStorage).toBe((await import('react-router-8')).createSessionStorage)
  expect(used.handlers).toBeGreaterThan(0)
})
