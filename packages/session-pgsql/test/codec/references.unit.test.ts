import { describe, expect, it } from 'vitest'
import { phpCodec, phpSerializeCodec } from '../../src/codec/php.ts'
import { carryReferences, referenceGroups } from '../../src/codec/php-memory.ts'
import { type PhpArray, PhpCustom, PhpObject } from '../../src/codec/php-values.ts'

const OBJECT = 'O:8:"stdClass":0:{}'

const custom = (payload: string) => `C:1:"A":${payload.length}:{${payload}}`

describe('references', () => {
  it.each([
    ['of scalars', 'a|i:1;b|R:1;c|i:3;'],
    ['of arrays', 'a|a:1:{i:0;i:1;}b|R:1;c|a:1:{i:0;i:1;}'],
    ['to an element', 'a|a:2:{i:0;i:1;i:1;i:2;}b|R:3;c|a:1:{s:1:"x";R:3;}'],
    ['of an array to itself', 'a|a:1:{s:4:"self";R:1;}'],
    ['from nested arrays', 'a|a:2:{i:0;a:1:{i:7;a:1:{s:1:"x";R:1;}}i:1;R:2;}b|i:1;'],
    ['of objects', `a|${OBJECT}b|r:1;c|R:1;d|r:1;`],
    ['of objects that contain themselves', 'a|O:1:"A":2:{s:4:"self";r:1;s:3:"ref";R:1;}b|r:1;c|i:1;d|R:4;'],
    ['of enums', 'a|E:3:"A:B";b|r:1;c|E:3:"A:C";d|r:3;'],
    ['into a payload', `a|${custom(`a:1:{i:0;${OBJECT}}`)}b|r:3;c|${custom('[1]')}d|r:3;`],
    ['after a payload that only looks like values', `a|${custom('i:1;')}b|${OBJECT}c|r:2;`],
    ['after a payload that starts like values', `a|${custom('i:1;x')}b|${OBJECT}c|r:2;`],
    ['in a payload in a payload', `a|${custom(custom('a:1:{i:0;r:1;}'))}b|r:2;`],
  ])('%s are written as they were read', (_, text) => {
    expect(phpCodec.encode(phpCodec.decode(text))).toBe(text)
  })

  it('are the same array or object in JavaScript', () => {
    const session = phpCodec.decode('a|a:1:{i:0;i:1;}b|R:1;u|O:1:"U":0:{}v|r:3;') as {
      a: number[]
      b: number[]
      u: PhpObject
      v: PhpObject
    }
    expect(session.a).toBe(session.b)
    expect(session.u).toBe(session.v)
    session.b.push(2)
    session.v.set('seen', true)
    expect(phpCodec.encode(session)).toBe('a|a:2:{i:0;i:1;i:1;i:2;}b|R:1;u|O:1:"U":1:{s:4:"seen";b:1;}v|r:4;')
  })

  it('of an array to itself work for every kind of array', () => {
    const list = phpCodec.decode('x|a:1:{i:0;R:1;}').x as unknown[]
    expect(list[0]).toBe(list)
    const table = phpCodec.decode('x|a:1:{i:5;R:1;}').x as PhpArray
    expect(table.get(5)).toBe(table)
    const whole = phpSerializeCodec.decode('a:1:{s:1:"x";R:1;}')
    expect(whole.x).toBe(whole)
    expect(phpSerializeCodec.encode(whole)).toBe('a:1:{s:1:"x";R:1;}')
  })

  it('end when one of the values changes', () => {
    const session = phpCodec.decode('a|i:1;b|R:1;c|R:1;')
    session.a = 2
    expect(phpCodec.encode(session)).toBe('a|i:2;b|i:1;c|i:1;')
    session.b = 2
    expect(phpCodec.encode(session)).toBe('a|i:2;b|R:1;c|i:1;')
  })

  it('do not connect other elements after the list has changed', () => {
    const session = phpCodec.decode('a|i:1;list|a:3:{i:0;R:1;i:1;i:1;i:2;i:5;}') as { list: number[] }
    session.list.shift()
    expect(phpCodec.encode(session)).toBe('a|i:1;list|a:2:{i:0;i:1;i:1;i:5;}')
  })

  it('are numbered again in a changed session', () => {
    const session = phpCodec.decode(`gone|a:2:{i:0;N;i:1;N;}a|${OBJECT}b|r:4;c|a:1:{i:0;i:1;}d|R:6;`)
    const { gone: _, ...rest } = session
    expect(phpCodec.encode(rest)).toBe(`a|${OBJECT}b|r:1;c|a:1:{i:0;i:1;}d|R:3;`)
    expect(phpSerializeCodec.encode(rest)).toContain('r:2;s:1:"c";a:1:{i:0;i:1;}s:1:"d";R:4;')
  })

  it('are not written for JavaScript arrays that occur twice', () => {
    const shared = [1]
    expect(phpCodec.encode({ a: shared, b: shared })).toBe('a|a:1:{i:0;i:1;}b|a:1:{i:0;i:1;}')
  })

  it('can be copied to a copy of the session', () => {
    const session = phpCodec.decode('a|i:1;b|R:1;c|d:0.10000000000000001;d|i:2;e|R:3;')
    const copy = { ...session }
    expect(phpCodec.encode(copy)).toBe('a|i:1;b|i:1;c|d:0.1;d|i:2;e|i:2;')
    carryReferences(session, copy, ['d', 'e'])
    expect(phpCodec.encode(copy)).toBe('a|i:1;b|i:1;c|d:0.1;d|i:2;e|R:4;')
    carryReferences(session, copy)
    expect(phpCodec.encode(copy)).toBe('a|i:1;b|R:1;c|d:0.10000000000000001;d|i:2;e|R:3;')
  })
})

describe('payloads made in JavaScript', () => {
  it('are written unchanged, and their values are counted', () => {
    const user = new PhpObject('U')
    const payload = new PhpCustom('A', 'a:1:{i:0;N;}')
    const text = 'x|C:1:"A":12:{a:1:{i:0;N;}}u|O:1:"U":0:{}v|r:4;'
    expect(phpCodec.encode({ x: payload, u: user, v: user })).toBe(text)
    const opaque = new PhpCustom('A', new Uint8Array([0x5b, 0x5d]))
    expect(phpCodec.encode({ x: opaque, u: user, v: user })).toBe('x|C:1:"A":2:{[]}u|O:1:"U":0:{}v|r:2;')
  })
})

describe('referenceGroups', () => {
  it.each<[string, string, string[][]]>([
    ['no references', 'a|i:1;b|a:1:{s:1:"x";a:0:{}}', []],
    ['scalars', 'a|i:1;b|R:1;c|i:1;', [['a', 'b']]],
    ['objects', `a|${OBJECT}b|r:1;c|R:1;d|i:1;`, [['a', 'b', 'c']]],
    ['nested values', 'a|a:1:{s:1:"x";i:1;}b|i:0;c|a:1:{i:5;a:1:{i:0;R:2;}}', [['a', 'c']]],
    ['properties', 'a|O:1:"A":1:{s:1:"x";i:1;}c|R:2;', [['a', 'c']]],
    ['references inside one key', 'a|a:2:{s:1:"x";i:1;s:1:"y";R:2;}b|i:1;', [['a']]],
    ['an array that contains itself', 'a|a:1:{s:1:"x";R:1;}b|i:1;', [['a']]],
    [
      'a chain',
      'a|i:1;b|a:2:{i:0;R:1;i:1;i:2;}c|R:3;d|i:1;e|i:1;f|R:5;',
      [
        ['a', 'b', 'c'],
        ['e', 'f'],
      ],
    ],
    ['enum cases, which connect nothing', 'a|E:3:"A:B";b|r:1;', []],
    ['a payload', `a|${custom(OBJECT)}b|r:2;`, [['a', 'b']]],
  ])('returns the groups of %s', (_, text, groups) => {
    expect(referenceGroups(phpCodec.decode(text))).toEqual(groups)
  })

  it('finds the references of copied and moved values', () => {
    const { a, c } = phpCodec.decode(`a|a:1:{i:0;i:1;}b|R:1;c|${OBJECT}`)
    expect(referenceGroups({ one: a, two: 1, three: [{ a }], c, d: [c] })).toEqual([
      ['one', 'three'],
      ['c', 'd'],
    ])
    expect(referenceGroups({})).toEqual([])
  })
})
