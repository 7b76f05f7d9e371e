import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, expect, test } from 'vitest'
import type { BatchMessage } from '../../src/index.ts'
import { describeHandler, type Handler } from './kit.ts'

const CHANNEL = 'tracing:session-pgsql:batch:start'

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

/** Returns the sizes of the batches that the handler sends until the end of the test. */
function sizesOf(handler: Handler): number[] {
  const sizes: number[] = []
  const listener = (message: unknown): void => {
    const batch = message as BatchMessage
    if (batch.handler === handler) sizes.push(batch.size)
  }
  subscribe(CHANNEL, listener)
  stops.push(() => unsubscribe(CHANNEL, listener))
  return sizes
}

describeHandler(
  'Batches',
  (kit) => {
    const ids = (count: number) => Array.from({ length: count }, kit.id)

    test.for<[calls: number, batches: number[]]>([
      [127, [127]],
      [128, [64, 64]],
    ])(
      '%i writes are sent in batches of %j, because a batch waits for the disk',
      async ([calls, batches]) => {
        const sessions = kit.open()
        await sessions.open()
        const sizes = sizesOf(sessions)
        await Promise.all(ids(calls).map((id) => sessions.write(id, {}, { base: null })))
        expect(sizes).toEqual(batches)
      },
    )

    test.for<[calls: number, batches: number[]]>([
      [3, [3]],
      [4, [2, 2]],
    ])('%i writes of 30,000 characters are sent in batches of %j', async ([calls, batches]) => {
      const sessions = kit.open()
      await sessions.open()
      const sizes = sizesOf(sessions)
      const data = { text: 'x'.repeat(30_000) }
      await Promise.all(ids(calls).map((id) => sessions.write(id, data, { base: null })))
      expect(sizes).toEqual(batches)
      // The size is that of what waits, not of what was sent before.
      sizes.length = 0
      await Promise.all(ids(3).map((id) => sessions.write(id, data, { base: null })))
      expect(sizes).toEqual([3])
    })

    test.for<[calls: number, batches: number[]]>([
      [31, [31]],
      [32, [16, 16]],
    ])('%i reads are sent in batches of %j, and touches too', async ([calls, batches]) => {
      const sessions = kit.open()
      const known = ids(calls)
      await Promise.all(known.map((id) => sessions.write(id, {})))
      const sizes = sizesOf(sessions)
      await Promise.all(known.map((id) => sessions.read(id)))
      expect(sizes).toEqual(batches)
      sizes.length = 0
      await Promise.all(known.map((id) => sessions.touch(id)))
      expect(sizes).toEqual(batches)
    })

    test('without batches, a request does not wait for one that was sent before', async () => {
      const sessions = kit.open({ batch: false })
      await sessions.open()
      const sizes = sizesOf(sessions)
      const reads: Promise<unknown>[] = []
      for (let sent = 1; sent <= 5; sent++) {
        reads.push(sessions.read(kit.id()))
        // It is sent at the end of this tick. Answers are read in later ones.
        await new Promise<void>((resolve) => process.nextTick(() => queueMicrotask(resolve)))
        expect(sizes).toHaveLength(sent)
      }
      await Promise.all(reads)
    })
  },
  'postgres only',
)
