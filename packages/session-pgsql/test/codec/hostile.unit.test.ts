/** Text that an attacker could have written into the table. Decoding it must do no more than fail. */
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { bytesToText } from '../../src/codec/bytes.ts'
import type { PhpSession } from '../../src/codec/php.ts'
import { phpCodec, phpSerializeCodec } from '../../src/codec/php.ts'
import { referenceGroups } from '../../src/codec/php-memory.ts'
import { MAX_DEPTH } from '../../src/codec/php-reader.ts'
import { PhpArray } from '../../src/codec/php-values.ts'
import { samePhpValue } from '../../src/codec/php-writer.ts'
import { codecs } from './php.ts'

// Long, for loaded machines. The faults that these tests find would take hours.
vi.setConfig({ testTimeout: 60_000 })

const MEGABYTE = 1 << 20
const undecodable = expect.objectContaining({ code: 'UNDECODABLE' })
const fill = (piece: string, size = MEGABYTE) => piece.repeat(Math.floor(size / piece.length))

describe('invalid sessions', () => {
  it.each([
    ['x'],
    ['x|'],
    ['x|i:1'],
    ['x|i:;'],
    ['x|i:1.5;'],
    ['x|i:9223372036854775808;'],
    ['x|i:1;y'],
    ['x|i:1;;'],
    ['x|b:2;'],
    ['x|d:;'],
    ['x|d:1.2.3;'],
    ['x|d:Infinity;'],
    ['x|d:0x10;'],
    ['x|s:5:"abc";'],
    ['x|s:2:"abc";'],
    ['x|s:-1:"";'],
    ['x|s:99999999999999999999:"";'],
    ['x|S:1:"\\4";'],
    ['x|S:9:"\\41";'],
    ['x|a:2:{i:0;N;}'],
    ['x|a:0:{i:0;N;}'],
    ['x|a:999999999:{'],
    ['x|a:-1:{}'],
    ['x|a:1:{N;N;}'],
    ['x|a:1:{d:1;N;}'],
    ['x|O:1:"A":1:{}'],
    ['x|O:8:"A":0:{}'],
    ['x|E:1:"A";'],
    ['x|E:5:"A:B:C";'],
    ['x|C:1:"A":9:{a}'],
    ['x|C:1:"A":1:{ab}'],
    ['x|R:1;'],
    ['x|R:0;'],
    ['x|i:1;y|R:-1;'],
    ['x|i:1;y|R:2;'],
    ['x|i:1;y|r:1;'],
    ['x|r:1;'],
    ['x|a:1:{i:0;r:1;}'],
    ['x|o:0:{}'],
    ['x|}'],
  ])('rejects %s', (text) => {
    expect(() => phpCodec.decode(text)).toThrow(undecodable)
  })

  it('have errors with the position, but without the data', () => {
    expect(() => phpCodec.decode('secret|s:6:"secret"!')).toThrow('Expected ";" at byte 19 of the session')
    expect(() => phpSerializeCodec.decode('secret')).toThrow('Expected "a" at byte 0 of the session')
    for (const text of [
      'secret',
      'secret|secret',
      'a|i:secret;',
      'a|d:secret;',
      'a|E:6:"secret";',
      'a|S:6:"\\secret"',
    ]) {
      expect(() => phpCodec.decode(text)).not.toThrow(/secret/)
      expect(() => phpCodec.decode(text)).toThrow(undecodable)
    }
  })

  it('are rejected before they are read if a length is too large', () => {
    expect(() => phpCodec.decode('x|a:999999999:{i:0;N;}')).toThrow(/fewer elements at byte 4/)
    expect(() => phpCodec.decode('x|s:999999999:"a";')).toThrow(/no more than 2 bytes at byte 15/)
    expect(() => phpCodec.decode(`x|a:${'9'.repeat(16)}:{i:0;N;}`)).toThrow(/a smaller number at byte 4/)
  })

  it('cause no other error than UNDECODABLE, whatever the bytes', () => {
    const pieces = fc.constantFrom(
      ...[
        'a:1:{',
        'a:2:{',
        'i:0;',
        'i:1;',
        's:1:"x";',
        'N;',
        '}',
        'R:1;',
        'R:2;',
        'r:2;',
        'O:1:"A":1:{',
        'x|',
      ],
      ...[
        'C:1:"A":9:{',
        'E:3:"A:B";',
        'd:1;',
        'd:.5;',
        'S:1:"\\41";',
        '!y|',
        '\x01x',
        's:9:"__proto__";',
        '"',
        ';',
      ],
    )
    const texts = fc.oneof(
      fc.array(pieces, { maxLength: 30 }).map((parts) => `x|${parts.join('')}`),
      fc.uint8Array({ maxLength: 60 }).map((bytes) => bytesToText(bytes)),
    )
    fc.assert(
      fc.property(texts, fc.constantFrom(...codecs), (text, codec) => {
        let data: PhpSession
        try {
          data = codec.decode(text)
        } catch (error) {
          expect(error).toEqual(undecodable)
          return
        }
        // Decoded data can be encoded, and decodes to the same. With php_serialize, which represents every name.
        const again = phpSerializeCodec.encode(data)
        expect(phpSerializeCodec.encode(phpSerializeCodec.decode(again))).toBe(again)
      }),
      { numRuns: 20_000 },
    )
  })
})

describe('prototypes', () => {
  const evil = 'a:1:{s:7:"isAdmin";b:1;}'

  it.each([
    `x|a:1:{s:9:"__proto__";${evil}}`,
    `x|O:9:"__proto__":1:{s:9:"__proto__";${evil}}`,
    `x|a:1:{s:11:"constructor";a:1:{s:9:"prototype";${evil}}}`,
    `__proto__|${evil}`,
    `__proto__|a:1:{i:0;R:1;}x|R:1;`,
    `constructor|a:1:{s:9:"prototype";${evil}}`,
  ])('are not touched by %s', (text) => {
    const data = phpCodec.decode(text)
    expect(Object.getPrototypeOf(data)).toBe(Object.prototype)
    expect(data.isAdmin).toBeUndefined()
    expect(({} as { isAdmin?: unknown }).isAdmin).toBeUndefined()
    expect(Object.hasOwn(Object.prototype, 'isAdmin')).toBe(false)
    expect(phpCodec.encode(data)).toBe(text)
  })

  it('are safe from copies, because an array with the key __proto__ is not a plain object', () => {
    const value = phpCodec.decode(`x|a:2:{s:1:"a";i:1;s:9:"__proto__";${evil}}`).x
    expect(value).toBeInstanceOf(PhpArray)
  })
})

describe('nesting', () => {
  const nested = (levels: number) => `x|${'a:1:{i:0;'.repeat(levels)}N;${'}'.repeat(levels)}`

  it('has the same limit for decoding and encoding', () => {
    expect(phpCodec.encode(phpCodec.decode(nested(MAX_DEPTH)))).toBe(nested(MAX_DEPTH))
    expect(() => phpCodec.decode(nested(MAX_DEPTH + 1))).toThrow(undecodable)
    const data = phpCodec.decode(nested(MAX_DEPTH))
    expect(phpSerializeCodec.decode(phpSerializeCodec.encode(data))).toEqual(data)
    expect(() => phpCodec.encode({ x: [data.x] })).toThrow(/nested deeper than 512/)
    expect(() => phpSerializeCodec.encode({ x: [data.x] })).toThrow(/nested deeper than 512/)
  })

  it.each([
    ['arrays', 'a:1:{i:0;'],
    ['objects', 'O:1:"A":1:{s:1:"a";'],
    ['payloads', 'C:1:"A":100:{'],
  ])('of a megabyte of %s is rejected', (_, piece) => {
    expect(() => phpCodec.decode(`x|${fill(piece)}`)).toThrow(undecodable)
  })

  it('of payloads is followed 16 levels deep', () => {
    let text = 'N;'
    for (let level = 0; level < 3000; level++) text = `C:1:"A":${text.length}:{${text}}`
    expect(phpCodec.encode(phpCodec.decode(`x|${text}`))).toBe(`x|${text}`)
    // Deeper than 16 levels, values in a payload are not counted.
    const deep = (levels: number) => {
      let inner = 'O:1:"A":0:{}'
      for (let level = 0; level < levels; level++) inner = `C:1:"A":${inner.length}:{${inner}}`
      return `x|${inner}y|r:${levels + 1};`
    }
    expect(phpCodec.encode(phpCodec.decode(deep(16)))).toBe(deep(16))
    expect(() => phpCodec.decode(deep(17))).toThrow(undecodable)
  })
})

describe('a megabyte', () => {
  // Each takes minutes if the time is quadratic; then the test times out.
  const many = (head: string, piece: (index: number) => string) => {
    let body = ''
    let count = 0
    while (body.length < MEGABYTE) body += piece(count++)
    return `${head}a:${count}:{${body}}`
  }

  it.each<[string, string]>([
    ['of references', many('y|i:1;x|', (index) => `i:${index};R:1;`)],
    ['of references to arrays', many('y|a:0:{}x|', (index) => `i:${index};R:1;`)],
    ['of references to their own array', many('x|', (index) => `i:${index};R:1;`)],
    ['of the same object', many('y|O:1:"A":0:{}x|', (index) => `s:8:"k${1e6 + index}";r:1;`)],
    ['of variables that share references in pairs', chain()],
    ['of descending integer keys', many('x|', (index) => `i:${1e6 - index};N;`)],
    ['of string keys', many('x|', (index) => `s:8:"k${1e6 + index}";N;`)],
    ['of floats with 17 digits', many('x|', (index) => `i:${index};d:0.10000000000000001;`)],
    ['of payloads', many('x|', (index) => `i:${index};C:1:"A":4:{i:x;}`)],
    ['of properties', many('x|', (index) => `i:${index};N;`).replace('a:', 'O:1:"A":')],
    ['of bytes', `x|s:${MEGABYTE}:"${'\xff'.repeat(MEGABYTE)}";`],
    ['of text and bytes', many('x|', (index) => `i:${index};s:2:"\xffa";`)],
  ])('%s is decoded, and encoded to the same text', (_, latin1) => {
    const text = bytesToText(Buffer.from(latin1, 'latin1'))
    const data = phpCodec.decode(text)
    expect(phpCodec.encode(data) === text).toBe(true)
    expect(Array.isArray(referenceGroups(data))).toBe(true)
  })

  it.each<[string, string]>([
    ['of one key', many('x|', () => 'i:5;N;')],
    ['of the same reference of an array to itself', many('x|', () => 'i:0;R:1;')],
  ])('%s is decoded', (_, text) => {
    expect(Object.keys(phpCodec.decode(text))).toEqual(['x'])
  })

  it.each([
    ['of digits in a count', `x|a:${'9'.repeat(MEGABYTE)}:{}`],
    ['of digits in an integer', `x|i:${'9'.repeat(MEGABYTE)};`],
    ['of digits in a float', `x|d:${'9'.repeat(MEGABYTE)};`],
    ['of invalid floats', `x|${fill(`C:1:"A":1007:{d:${'9'.repeat(1004)}x;}`)}`],
    ['of a name', 'x'.repeat(MEGABYTE)],
    ['of lengths', `x|${fill('s:999999:"')}`],
    ['of counts', `x|${fill('a:99999:{i:0;')}`],
    ['of escapes', `x|S:${MEGABYTE}:"${'\\41'.repeat(1000)}`],
    ['of undefined variables without an end', `${fill('!x|')}x`],
  ])('%s is rejected', (_, text) => {
    expect(() => phpCodec.decode(text)).toThrow(undecodable)
  })
})

/** Variables of which each shares a reference with the next. */
function chain(): string {
  let text = 'k0|a:1:{i:0;i:0;}'
  for (let index = 1; text.length < MEGABYTE / 4; index++)
    text += `k${index}|a:2:{i:0;R:${index * 2};i:1;i:${index};}`
  return text
}

describe('values that share their parts', () => {
  it('are compared and encoded once, not once for every path to them', () => {
    // 60 levels, each with the next level twice: 2^60 paths.
    let text = 'N;'
    for (let level = 60; level > 0; level--) text = `a:2:{i:0;${text}i:1;R:${level + 1};}`
    const data = phpCodec.decode(`x|${text}`)
    expect(phpCodec.encode(data)).toBe(`x|${text}`)
    expect(samePhpValue(data.x, phpCodec.decode(`x|${text}`).x)).toBe(true)
    expect(referenceGroups(data)).toEqual([['x']])
  })
})
