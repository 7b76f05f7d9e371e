import { expect, test } from 'vitest'
import { type Placed, rank } from '../../src/servers/placement.ts'

const ids = Array.from(
  { length: 100_000 },
  (_, n) => `session-${n.toString(36)}-${(n * 2_654_435_761).toString(16)}`,
)
const named = (...names: string[]): Placed[] => names.map((name) => ({ name, weight: 1 }))
const homes = (servers: readonly Placed[]): string[] => ids.map((id) => (rank(id, servers)[0] as Placed).name)

function shares(servers: readonly Placed[]): Map<string, number> {
  const shares = new Map<string, number>()
  for (const home of homes(servers)) shares.set(home, (shares.get(home) ?? 0) + 1 / ids.length)
  return shares
}

test('distributes sessions evenly over servers with similar names', () => {
  for (const servers of [
    named('a', 'b', 'c'),
    named('db1:5432/x', 'db2:5432/x', 'db3:5432/x', 'db4:5432/x'),
  ]) {
    for (const share of shares(servers).values()) {
      expect(Math.abs(share * servers.length - 1)).toBeLessThan(0.02)
    }
  }
})

test('distributes sessions by weight', () => {
  const shareOf = shares([
    { name: 'small', weight: 1 },
    { name: 'big', weight: 3 },
  ])
  expect(shareOf.get('big')).toBeGreaterThan(0.74)
  expect(shareOf.get('big')).toBeLessThan(0.76)
})

test('a fourth server takes its share from the three, and no session moves among these', () => {
  const before = homes(named('a', 'b', 'c'))
  const after = homes(named('a', 'b', 'c', 'd'))
  const moved = after.filter((home, index) => home !== before[index])
  expect(new Set(moved)).toEqual(new Set(['d']))
  expect(moved.length / ids.length).toBeGreaterThan(0.24)
  expect(moved.length / ids.length).toBeLessThan(0.26)
})

test('does not depend on the order of the list, and distributes the second rank evenly too', () => {
  const seconds = new Map<string, number>()
  for (const id of ids.slice(0, 30_000)) {
    const [first, second] = rank(id, named('a', 'b', 'c'))
    expect(rank(id, named('c', 'a', 'b'))[0]?.name).toBe(first?.name)
    if (first?.name === 'a') seconds.set(second?.name ?? '', (seconds.get(second?.name ?? '') ?? 0) + 1)
  }
  const [b = 0, c = 0] = [seconds.get('b'), seconds.get('c')]
  expect(Math.abs(b / c - 1)).toBeLessThan(0.08)
})
