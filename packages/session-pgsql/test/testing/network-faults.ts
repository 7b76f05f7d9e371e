import type { Fault } from '../../src/testing.ts'
import type { FaultyProxy } from '../support/proxy.ts'

/**
 * Returns the faults that a proxy between a store and its database can cause.
 *
 * @param proxyOf returns the proxy; not called before a fault begins
 */
export function networkFaults(proxyOf: () => FaultyProxy): { away: Fault; silent: Fault } {
  const end = async (): Promise<void> => {
    const proxy = proxyOf()
    proxy.drop()
    await proxy.resume()
  }
  return {
    away: {
      async begin() {
        const proxy = proxyOf()
        await proxy.refuse()
        proxy.drop()
      },
      end,
    },
    silent: { begin: async () => proxyOf().silence(), end },
  }
}
