import { expect, test } from 'vitest'
import { contentsOf, type Operation, violationsOf } from './history.ts'

const operation = (
  kind: Operation['kind'],
  [begin, end]: readonly [number, number],
  outcome: Operation['outcome'] = 'found',
  more: Partial<Operation> = {},
): Operation => ({ id: 'id', kind, begin, end, outcome, ...more })

const created = operation('create', [0, 1])
const destroyed = operation('destroy', [10, 11])

test('finds a false absent: after the creation, and before any destroy', () => {
  expect(violationsOf([created, operation('read', [2, 3], 'absent')])).toHaveLength(1)
  expect(violationsOf([created, operation('touch', [2, 3], 'absent')])).toHaveLength(1)
  expect(violationsOf([operation('read', [0.5, 3], 'absent'), created])).toEqual([])
  expect(violationsOf([created, operation('read', [9, 10.5], 'absent'), destroyed])).toEqual([])
  expect(violationsOf([created, operation('read', [2, 3], 'error')])).toEqual([])
  const doubtful = operation('destroy', [2, 3], 'error')
  expect(violationsOf([created, doubtful, operation('read', [4, 5], 'absent')])).toEqual([])
})

test('finds a resurrection: after the destroy was acknowledged', () => {
  expect(violationsOf([created, destroyed, operation('read', [12, 13])])).toHaveLength(1)
  expect(violationsOf([created, destroyed, operation('write', [12, 13])])).toHaveLength(1)
  expect(violationsOf([created, destroyed, operation('write', [10.5, 13])])).toEqual([])
  const doubtful = operation('destroy', [10, 11], 'error')
  expect(violationsOf([created, doubtful, operation('read', [12, 13])])).toEqual([])
})

test('finds a lost write: acknowledged before the read began', () => {
  const wrote = (number: number, times: readonly [number, number], outcome?: Operation['outcome']) =>
    operation('write', times, outcome, { wrote: ['w', number] })
  const read = (data: Record<string, number>, begin: number) =>
    operation('read', [begin, begin + 1], 'found', { contains: contentsOf(data) })
  expect(violationsOf([created, wrote(1, [2, 3]), read({}, 4)])).toHaveLength(1)
  expect(violationsOf([created, wrote(1, [2, 3]), read({ 'w:1': 1 }, 4)])).toEqual([])
  expect(violationsOf([created, wrote(1, [2, 3]), read({}, 2.5)])).toEqual([])
  const two = [created, wrote(1, [2, 3]), wrote(2, [4, 5])]
  expect(violationsOf([...two, read({ 'w:2': 1 }, 6)])).toEqual([expect.stringContaining('lacks w:1')])
  // Not acknowledged.
  expect(violationsOf([created, wrote(1, [2, 3], 'error'), wrote(2, [4, 5]), read({ 'w:2': 1 }, 6)])).toEqual(
    [],
  )
})
