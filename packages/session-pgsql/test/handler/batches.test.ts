import { expect, test } from 'vitest'
import { batchSizes, describeHandler } from './kit.ts'

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
        const sizes = batchSizes(sessions)
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
      const sizes = batchSizes(sessions)
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
      const sizes = batchSizes(sessions)
      await Promise.all(known.map((id) => sessions.read(id)))
      expect(sizes).toEqual(batches)
      sizes.length = 0
      await Promise.all(known.map((id) => sessions.touch(id)))
      expect(sizes).toEqual(batches)
    })

    test('without batches, a request does not wait for one that was sent before', async () => {
      const sessions = kit.open({ batch: false })
      await sessions.open()
      const sizes = batchSizes(sessions)
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
