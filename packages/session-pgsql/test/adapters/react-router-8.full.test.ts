import { expect, test, vi } from 'vitest'
import { describeReactRouter } from './react-router.ts'

const { used } = vi.hoisted(() => ({ used: { handlers: 0 } }))

/** Version 8 wherever version 7 is asked for: by the test, and by the example, which has a copy of its own. */
async function version8() {
  const host = await import('react-router-8')
  return {
    ...host,
    createStaticHandler(...options: Parameters<typeof host.createStaticHandler>) {
      used.handlers++
      return host.createStaticHandler(...options)
    },
  }
}
vi.mock('react-router', version8)
vi.mock('../../../../examples/react-router/node_modules/react-router', version8)

describeReactRouter('React Router 8')

test('it is version 8 that was tested, in the example too', async () => {
  const asked = await import('react-router')
  expect(asked.createSessionStorage).toBe((await import('react-router-8')).createSessionStorage)
  expect(used.handlers).toBeGreaterThan(0)
})
