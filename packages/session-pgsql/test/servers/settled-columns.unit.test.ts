import { expect, test, vi } from 'vitest'
import { settledColumns } from '../../src/servers/settled-columns.ts'
import { tombstone } from '../../src/table/tombstones.ts'

test('computes no columns of a tombstone, which has no data', () => {
  const at = { home: 'home', clock: 1000, destroyed: 1000, mayBeElsewhere: false, lifetime: 100 }
  const ended = tombstone('id', undefined, at)
  const of = vi.fn()
  expect(settledColumns(ended, ended, undefined, { names: ['user_id'], of })).toMatchObject({
    filled: null,
    computed: undefined,
  })
  expect(of).not.toHaveBeenCalled()
})
