import { describe, expect, test } from 'vitest'
import { BoundedMap } from '../../src/gateway/bounded-map.ts'

describe('BoundedMap', () => {
  function create() {
    const evicted: string[] = []
    const map = new BoundedMap<string, { readonly bytes: number }>(
      100,
      ({ bytes }) => bytes,
      (key) => evicted.push(key),
    )
    const keys = () => [...map.entries()].map(([key]) => key)
    return { map, evicted, keys }
  }

  test('evicts the oldest entries until the others fit', () => {
    const { map, evicted, keys } = create()
    for (const key of ['a', 'b', 'c']) map.set(key, { bytes: 30 })
    map.set('d', { bytes: 60 })
    expect(keys()).toEqual(['c', 'd'])
    expect(evicted).toEqual(['a', 'b'])
  })

  test('keeps the newest entry alone if it exceeds the limit', () => {
    const { map, evicted, keys } = create()
    map.set('a', { bytes: 30 })
    map.set('b', { bytes: 1000 })
    expect(keys()).toEqual(['b'])
    map.set('c', { bytes: 30 })
    expect(keys()).toEqual(['c'])
    expect(evicted).toEqual(['a', 'b'])
  })

  test('counts an entry once that is replaced, and makes it the newest', () => {
    const { map, evicted, keys } = create()
    map.set('a', { bytes: 40 })
    map.set('b', { bytes: 40 })
    map.set('a', { bytes: 60 })
    expect(keys()).toEqual(['b', 'a'])
    map.set('c', { bytes: 40 })
    expect(keys()).toEqual(['a', 'c'])
    expect(evicted).toEqual(['b'])
  })

  test('frees the memory of a deleted entry, and does not call that an eviction', () => {
    const { map, evicted, keys } = create()
    const value = { bytes: 90 }
    map.set('a', value)
    expect(map.delete('a')).toBe(value)
    expect(map.delete('a')).toBeUndefined()
    map.set('b', { bytes: 50 })
    map.set('c', { bytes: 50 })
    expect(keys()).toEqual(['b', 'c'])
    expect(evicted).toEqual([])
  })
})
