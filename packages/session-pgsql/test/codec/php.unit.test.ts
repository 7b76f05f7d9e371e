import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { bytesToText, MARKER, textToBytes } from '../../src/codec/bytes.ts'
import { phpBinaryCodec, phpCodec, phpSerializeCodec } from '../../src/codec/php.ts'
import { formatFloat, integerKey } from '../../src/codec/php-numbers.ts'
import { PhpArray, PhpCustom, PhpEnum, PhpFloat, PhpObject } from '../../src/codec/php-values.ts'
import { samePhpValue } from '../../src/codec/php-writer.ts'

const decode = (value: string) => phpCodec.decode(`x|${value}`).x
const encode = (value: unknown) => phpCodec.encode({ x: value }).slice('x|'.length)
const bytes = (latin1: string) => bytesToText(Buffer.from(latin1, 'latin1'))

describe('PHP values in JavaScript', () => {
  it.each<[string, unknown]>([
    ['N;', null],
    ['b:1;', true],
    ['b:0;', false],
    ['i:0;', 0],
    ['i:-7;', -7],
    ['i:9007199254740991;', 9007199254740991],
    ['i:9007199254740992;', 9007199254740992n],
    ['i:-9223372036854775808;', -9223372036854775808n],
    ['d:0.1;', 0.1],
    ['d:1;', new PhpFloat(1)],
    ['d:-0;', -0],
    ['d:1.0E+25;', 1e25],
    ['d:INF;', Number.POSITIVE_INFINITY],
    ['d:-INF;', Number.NEGATIVE_INFINITY],
    ['d:NAN;', Number.NaN],
    ['s:0:"";', ''],
    ['s:6:"é";x|";', 'é";x|'],
    ['a:0:{}', []],
    ['a:2:{i:0;i:1;i:1;s:1:"b";}', [1, 'b']],
    ['a:1:{s:2:"id";i:1;}', { id: 1 }],
    ['a:1:{s:4:"cart";a:1:{i:0;a:1:{s:3:"sku";s:1:"A";}}}', { cart: [{ sku: 'A' }] }],
    [
      'a:2:{i:1;i:1;i:0;i:2;}',
      new PhpArray([
        [1, 1],
        [0, 2],
      ]),
    ],
    [
      'a:2:{s:1:"b";i:1;i:5;i:2;}',
      new PhpArray([
        ['b', 1],
        [5, 2],
      ]),
    ],
    ['a:1:{s:9:"__proto__";i:1;}', new PhpArray([['__proto__', 1]])],
    ['a:1:{s:11:"constructor";i:1;}', Object.fromEntries([['constructor', 1]])],
    [
      'O:8:"stdClass":2:{s:1:"5";i:1;i:5;i:2;}',
      new PhpObject('stdClass', [
        ['5', 1],
        [5, 2],
      ]),
    ],
    ['E:11:"Suit:Hearts";', new PhpEnum('Suit', 'Hearts')],
    ['C:3:"Foo":5:{a|b;}}', new PhpCustom('Foo', 'a|b;}')],
  ])('decodes and encodes %s', (text, value) => {
    expect(decode(text)).toStrictEqual(value)
    expect(encode(decode(text))).toBe(text)
    // A value made in JavaScript, for which nothing is remembered.
    expect(encode(value)).toBe(text)
  })

  it('keeps bytes that are not UTF-8', () => {
    const text = bytes('x|s:3:"a\xff\0";')
    expect(text).toBe(`${MARKER}x|s:3:"a%FF%00";`)
    expect(phpCodec.decode(text)).toStrictEqual({ x: Buffer.from([0x61, 0xff, 0]) })
    expect(phpCodec.encode({ x: new Uint8Array([0x61, 0xff, 0]) })).toBe(text)
  })

  it('decodes a string that ends inside a character as bytes', () => {
    const text = 'x|a:2:{i:0;s:1:"é";";i:1;s:1:"a";}'
    expect(() => phpCodec.decode(text)).toThrow(/Expected """ at byte/)
    expect(phpCodec.decode(bytes('x|s:1:"\xc3";'))).toStrictEqual({ x: Buffer.from([0xc3]) })
  })

  it('keeps the notation of numbers and strings that current PHP does not use', () => {
    for (const text of ['d:0.10000000000000001;', 'd:1.0;', 'i:+5;', 'S:2:"\\41b";', 'd:1e3;']) {
      for (const whole of [`x|${text}`, `x|a:1:{i:0;${text}}`, `x|O:1:"A":1:{s:1:"a";${text}}`]) {
        expect(phpCodec.encode(phpCodec.decode(whole))).toBe(whole)
      }
    }
    expect(decode('S:2:"\\41b";')).toBe('Ab')
    const data = phpCodec.decode('a|d:0.10000000000000001;b|d:0.10000000000000001;')
    data.a = 0.2
    expect(phpCodec.encode(data)).toBe('a|d:0.2;b|d:0.10000000000000001;')
  })

  it.each([
    [1e15, '1000000000000000'],
    [1e16, '10000000000000000'],
    [1e17, '1.0E+17'],
    [123456789012345680, '1.2345678901234568E+17'],
    [0.0001, '0.0001'],
    [0.00001, '1.0E-5'],
    [-1.25e-7, '-1.25E-7'],
    [5e-324, '5.0E-324'],
    [Number.MAX_VALUE, '1.7976931348623157E+308'],
    [12.5, '12.5'],
  ])('writes %d as PHP does', (value, text) => {
    expect(formatFloat(value)).toBe(text)
  })

  it.each([
    ['5', 5],
    ['-5', -5],
    ['0', 0],
    ['9007199254740992', 9007199254740992n],
    ['-9223372036854775808', -9223372036854775808n],
    ['9223372036854775808', undefined],
    ['05', undefined],
    ['-0', undefined],
    ['+5', undefined],
    ['5.0', undefined],
    ['', undefined],
  ])('converts the key %j to the integer %s', (key, integer) => {
    expect(integerKey(key)).toBe(integer)
  })
})

describe('decoded sessions', () => {
  const text = 'user|a:1:{s:2:"id";i:7;}cart|a:1:{i:0;a:1:{s:3:"sku";s:1:"A";}}visits|i:2;'

  it('are read and changed like plain data', () => {
    const session = phpCodec.decode(text) as { user: { id: number }; cart: { sku: string }[]; visits: number }
    expect(session.user.id).toBe(7)
    session.cart.push({ sku: 'B' })
    session.visits++
    expect(phpCodec.encode(session)).toBe(
      'user|a:1:{s:2:"id";i:7;}cart|a:2:{i:0;a:1:{s:3:"sku";s:1:"A";}i:1;a:1:{s:3:"sku";s:1:"B";}}visits|i:3;',
    )
  })

  it('are new values at every decode', () => {
    const first = phpCodec.decode(text) as { cart: unknown[] }
    first.cart.length = 0
    expect(phpCodec.decode(text).cart).toHaveLength(1)
  })

  it('keep the keys that a program sets on an empty PHP array', () => {
    const session = phpCodec.decode('prefs|a:0:{}cart|a:0:{}') as Record<string, Record<string, unknown>>
    Object.assign(session.prefs as object, { theme: 'dark' })
    Object.assign(session.cart as object, { 17: 2 })
    expect(phpCodec.encode(session)).toBe('prefs|a:1:{s:5:"theme";s:4:"dark";}cart|a:1:{i:17;i:2;}')
  })

  it('calculate with floats and keep their type', () => {
    const session = phpCodec.decode('price|d:10;')
    expect((session.price as number) * 2).toBe(20)
    expect(`${session.price}`).toBe('10')
    expect(JSON.stringify(session)).toBe('{"price":10}')
    expect(phpCodec.encode({ ...session, other: 1 })).toBe('price|d:10;other|i:1;')
  })

  it('find properties by the names used in PHP code', () => {
    const stored = '\0*\0name'
    const user = new PhpObject('App\\User', [
      ['id', 1],
      [stored, 'Zoë'],
      ['\0App\\User\0hash', 'h'],
      ['\0App\\Base\0secret', 's'],
    ])
    expect(['id', 'name', 'hash', 'secret', 'none'].map((name) => user.get(name))).toEqual([
      1,
      'Zoë',
      'h',
      's',
      undefined,
    ])
    user.set('name', 'Ada').set('added', true)
    expect(user.properties.get(stored)).toBe('Ada')
    expect(user.has('name')).toBe(true)
    expect(user.has('nam')).toBe(false)
    expect(JSON.stringify(user)).toBe('{"id":1,"added":true}')
    expect(phpCodec.decode(phpCodec.encode({ user })).user).toStrictEqual(user)
  })

  it('have PHP arrays that work like a Map with PHP keys', () => {
    const array = new PhpArray([
      ['5', 'a'],
      [7n, 'b'],
      ['x', 'c'],
    ])
    expect([array.get(5), array.get('5'), array.get(7), array.get('x'), array.get('05')]).toEqual([
      'a',
      'a',
      'b',
      'c',
      undefined,
    ])
    expect(array.delete('7')).toBe(true)
    expect(array.delete(7)).toBe(false)
    array.set('x', 'd').set(-1, 'e')
    expect([...array]).toEqual([
      [5, 'a'],
      ['x', 'd'],
      [-1, 'e'],
    ])
    expect(array.size).toBe(3)
    expect(array.has(-1)).toBe(true)
    expect(array.delete(-1)).toBe(true)
    expect(array.has(-1)).toBe(false)
    expect(array.set(-1, 'f').get('-1')).toBe('f')
    expect(() => array.set(1.5, 0)).toThrow(/integer/)
  })

  it('differ in comparisons if the order of keys differs', () => {
    const one = decode('a:2:{i:5;i:1;i:9;i:2;}')
    const other = decode('a:2:{i:9;i:2;i:5;i:1;}')
    expect(isDeepStrictEqual(one, other)).toBe(false)
    expect(samePhpValue(one, other)).toBe(false)
    expect(isDeepStrictEqual(one, decode('a:2:{i:5;i:1;i:9;i:2;}'))).toBe(true)
    expect(samePhpValue({ a: 1, b: 2 }, { b: 2, a: 1 })).toBe(false)
    expect(samePhpValue(new PhpFloat(1), 1)).toBe(false)
    expect(samePhpValue([], {})).toBe(true)
  })

  it.each<[string, unknown]>([
    ['', undefined],
    ['x|a:1:{s:1:"b";i:1;}', { a: undefined, b: 1 }],
    ['x|a:1:{i:0;N;}', [undefined]],
    ['x|a:2:{i:5;s:1:"a";s:1:"b";s:1:"c";}', { 5: 'a', b: 'c' }],
    ['x|a:1:{i:5;i:1;}', new Map([['5', 1]])],
    ['x|s:24:"1970-01-01T00:00:00.000Z";', new Date(0)],
    ['x|a:0:{}', Object.create(null)],
    ['x|i:5;', 5n],
  ])('are written as %s', (text, value) => {
    expect(phpCodec.encode({ x: value })).toBe(text)
  })

  it.each<[string, unknown, RegExp]>([
    ['a function', { a: [() => 1] }, /contain a function \(2 levels deep\)/],
    ['a symbol', Symbol('secret'), /contain a symbol \(at the top level\)/],
    ['a set', new Set(), /an instance of a class/],
    ['a bigint of 65 bits', 2n ** 63n, /more than 64 bits/],
    ['half a surrogate pair', 'secret\ud800', /half a surrogate pair/],
    ['half a surrogate pair in a key', { 'secret\ud800': 1 }, /half a surrogate pair/],
    ['itself', loop(), /contains itself/],
  ])('are refused with %s, without quoting it', (_, value, message) => {
    for (const codec of [phpCodec, phpSerializeCodec, phpBinaryCodec]) {
      expect(() => codec.encode({ secret: value })).toThrow(message)
      expect(() => codec.encode({ secret: value })).not.toThrow(/secret/)
      expect(() => codec.encode({ secret: value })).toThrow(expect.objectContaining({ code: 'INVALID_DATA' }))
    }
  })
})

function loop(): unknown[] {
  const array: unknown[] = []
  array.push(array)
  return array
}

describe('the three formats', () => {
  const data = { a: 1, 'b!': [true], '': null, größe: 'x' }

  it.each([
    [phpCodec, 'a|i:1;b!|a:1:{i:0;b:1;}|N;größe|s:1:"x";'],
    [phpSerializeCodec, 'a:4:{s:1:"a";i:1;s:2:"b!";a:1:{i:0;b:1;}s:0:"";N;s:7:"größe";s:1:"x";}'],
    [phpBinaryCodec, `${MARKER}\x01ai:1;\x02b!a:1:{i:0;b:1;}%00N;\x07größes:1:"x";`],
  ])('write and read', (codec, text) => {
    expect(codec.encode(data)).toBe(text)
    expect(codec.decode(text)).toStrictEqual(data)
    expect(codec.decode('')).toStrictEqual({})
    expect(codec.decode(codec.encode({}))).toStrictEqual({})
  })

  it('keep names that are not UTF-8', () => {
    for (const codec of [phpCodec, phpSerializeCodec, phpBinaryCodec]) {
      const text = codec.encode({ 'caf\udce9': 1 })
      expect(textToBytes(text).toString('latin1')).toContain('caf\xe9')
      expect(codec.decode(text)).toStrictEqual({ 'caf\udce9': 1 })
    }
  })

  it('keep a name that starts inside a character', () => {
    // The first byte of "é" is read as a length, with the bit that marks an undefined variable.
    const name = `\udca9${'x'.repeat(66)}`
    const session = phpBinaryCodec.decode(`é${'x'.repeat(66)}i:1;`)
    expect(session).toStrictEqual({ [name]: 1 })
    expect(phpBinaryCodec.decode(phpBinaryCodec.encode(session))).toStrictEqual(session)
  })

  it('keep the order of integer names, which an object does not', () => {
    const text = 'a:4:{s:1:"b";i:1;i:9;i:2;i:5;i:3;i:-1;N;}'
    const session = phpSerializeCodec.decode(text)
    expect(phpSerializeCodec.encode(session)).toBe(text)
    delete session['9']
    session.c = 4
    expect(phpSerializeCodec.encode(session)).toBe('a:4:{s:1:"b";i:1;i:5;i:3;i:-1;N;s:1:"c";i:4;}')
  })

  it.each([
    ['a bar', phpCodec, 'a|secret'],
    ['an integer', phpCodec, '5'],
    ['an integer', phpBinaryCodec, '-5'],
    ['more than 127 bytes', phpBinaryCodec, 'ö'.repeat(64)],
  ])('refuse a name that is or contains %s, which PHP would lose', (_, codec, name) => {
    expect(() => codec.encode({ [name]: 1 })).toThrow(expect.objectContaining({ code: 'INVALID_DATA' }))
    expect(() => codec.encode({ [name]: 1 })).not.toThrow(/secret/)
    expect(phpSerializeCodec.decode(phpSerializeCodec.encode({ [name]: 1 }))).toEqual({ [name]: 1 })
  })

  it('refuse data that is not an object', () => {
    for (const codec of [phpCodec, phpSerializeCodec, phpBinaryCodec]) {
      for (const wrong of [null, [], 'x', undefined]) {
        expect(() => codec.encode(wrong as never)).toThrow(expect.objectContaining({ code: 'INVALID_DATA' }))
      }
    }
  })

  it('skip the undefined variables of old PHP, and read names that start with their mark', () => {
    expect(phpCodec.decode('!gone|a|i:1;!b|i:2;!c|')).toStrictEqual({ a: 1, '!b': 2 })
    expect(phpBinaryCodec.decode(bytes('\x84gone\x01ai:1;\x81bi:2;'))).toStrictEqual({ a: 1, b: 2 })
  })
})
