import type { Fault } from '../../src/testing.ts'
import type { FaultyProxy } from '../support/proxy.ts'

/** Returns the faults that a proxy between a store and its database can cause. */
export function networkFaults(proxy: FaultyProxy): { away: Fault; silent: Fault } {
  const end = async (): Promise<void> => {
    proxy.drop()
    await proxy.resume()
  }
  return {
    away: {
      async begin() {
        await proxy.refuse()
        proxy.drop()
      },
      end,
    },
    silent: { begin: async () => proxy.silence(), end },
  }
}
