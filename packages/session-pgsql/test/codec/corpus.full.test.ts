/**
 * Compares the codecs with PHP: sessions that PHP encodes are encoded again to the same bytes, and sessions that the
 * codecs encode are decoded by PHP and encoded to the same bytes, with the same numbers of references.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesToText, textToBytes } from '../../src/codec/bytes.ts'
import { phpCodec } from '../../src/codec/php.ts'
import { referenceGroups } from '../../src/codec/php-memory.ts'
import { type PhpSessionFormat, phpBytesCodec } from '../../src/codec/php-session.ts'
import { PhpArray, PhpEnum, PhpFloat, PhpObject } from '../../src/codec/php-values.ts'
import { codecs, phpDecodes, phpMissing, phpSessions } from './php.ts'

const SEED = 20240229
const COUNT = 10_000
const missing = phpMissing()
if (missing !== undefined) console.warn(`SKIPPED: ${missing}`)

/** PHP omits variables whose names the format cannot represent; the codecs refuse them. */
const nameable = (name: string) =>
  !/^-?\d+$/.test(name) && !name.includes('|') && Buffer.byteLength(name) < 128

describe.each(codecs)('$name against PHP', (codec) => {
  it(`encodes ${COUNT} sessions of PHP to the same bytes`, { timeout: 120_000 }, (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const sessions = phpSessions(codec.name, SEED, COUNT)
    expect(sessions).toHaveLength(COUNT)
    const wrong: string[] = []
    const asBytes = phpBytesCodec(codec.name as PhpSessionFormat)
    for (const [index, bytes] of sessions.entries()) {
      const again = textToBytes(codec.encode(codec.decode(bytesToText(bytes))))
      const passedOn = Buffer.from(asBytes.decode(asBytes.encode(bytes)))
      if (!again.equals(bytes) || !passedOn.equals(bytes))
        wrong.push(`${index}: ${bytes.toString('latin1')}\n=> ${again.toString('latin1')}`)
    }
    expect(wrong.slice(0, 3)).toEqual([])
  })

  it('numbers references again in changed sessions, as PHP reads them', { timeout: 120_000 }, (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const made = phpSessions(codec.name, SEED + 1, 6000).map((bytes) => bytesToText(bytes))
    // Without the sessions that PHP itself does not encode to the same bytes. Twice reads only half of what it
    // wrote; SplObjectStorage and classes that unserialize themselves read references as copies.
    const unchanged = phpDecodes(codec.name, made)
    const faithful = (text: string) =>
      !/"(?:Twice|SplObjectStorage)"/.test(text) && !(/"(?:Nested|Magic)"/.test(text) && text.includes('R:'))
    const originals = made.filter((text, index) => unchanged[index]?.again === text && faithful(text))
    expect(originals.length).toBeGreaterThan(2000)
    const texts = originals.map((text, index) => {
      const data = codec.decode(text)
      const first = Object.keys(data)[0]
      // Removed keys, another order and new keys in front: no value keeps its number.
      if (index % 3 === 0 && first !== undefined) delete data[first]
      const changed = index % 3 === 1 ? Object.fromEntries(Object.entries(data).reverse()) : data
      return codec.encode({ visits: [index, { at: 'x' }], ...changed, last: 'ü' })
    })
    const results = phpDecodes(codec.name, texts)
    expect(results).toHaveLength(texts.length)
    const wrong = texts.filter((text, index) => results[index]?.again !== text)
    expect(wrong.slice(0, 3)).toEqual([])
  })

  it('numbers the values in and after a payload again', (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const nested = (payload: string) => `C:6:"Nested":${payload.length}:{${payload}}`
    const x = nested('a:3:{i:0;i:1;i:1;O:8:"stdClass":1:{s:1:"a";i:5;}i:2;r:5;}')
    const text = `gone|O:8:"stdClass":0:{}x|${x}y|r:5;z|a:1:{i:0;r:2;}`
    const data = phpCodec.decode(text)
    expect(phpCodec.encode(data)).toBe(text)
    delete data.gone
    // Now the object in the payload occurs before the payload.
    const changed = codec.encode({ list: [1, 2, 3], y: data.y, x: data.x, z: data.z })
    const number = codec.name === 'php_serialize' ? 6 : 5
    expect(changed).toContain(nested(`a:3:{i:0;i:1;i:1;r:${number};i:2;r:${number};}`))
    expect(phpDecodes(codec.name, [changed])[0]?.again).toBe(changed)
  })

  it('encodes JavaScript values that PHP reads', (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const [decoded] = phpDecodes(codec.name, [
      codec.encode({
        visits: 3,
        price: 1.5,
        whole: new PhpFloat(10),
        huge: 1e25,
        big: 9007199254740993n,
        on: true,
        none: null,
        name: 'Zoë 😀',
        bytes: new Uint8Array([0, 255]),
        cart: [{ sku: 'A-1', count: 2 }],
        byId: new PhpArray([
          [17, 'a'],
          ['5', 'b'],
          ['x', 'c'],
        ]),
        user: new PhpObject('stdClass', [['id', 7]]),
        suit: new PhpEnum('Suit', 'Hearts'),
        sparse: Object.assign([], { 3: 'd' }),
      }),
    ])
    expect(decoded?.exported).toBe(`array (
  'visits' => 3,
  'price' => 1.5,
  'whole' => 10.0,
  'huge' => 1.0E+25,
  'big' => 9007199254740993,
  'on' => true,
  'none' => NULL,
  'name' => 'Zoë 😀',
  'bytes' => '' . "\\0" . '\ufffd',
  'cart' => 
  array (
    0 => 
    array (
      'sku' => 'A-1',
      'count' => 2,
    ),
  ),
  'byId' => 
  array (
    17 => 'a',
    5 => 'b',
    'x' => 'c',
  ),
  'user' => 
  (object) array(
     'id' => 7,
  ),
  'suit' => 
  \\Suit::Hearts,
  'sparse' => 
  array (
    3 => 'd',
  ),
)`)
  })

  it('encodes random JavaScript data as PHP would', { timeout: 120_000 }, (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'medium', withCrossShrink: true },
        fc.constantFrom(null, true, false),
        fc.integer(),
        fc.maxSafeInteger(),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.double(),
        fc.integer().map((integer) => new PhpFloat(integer)),
        fc.string({ unit: 'binary' }),
        fc.uint8Array(),
        fc.array(tie('any')),
        fc.dictionary(fc.string({ unit: 'grapheme' }), tie('any')),
      ),
    })).any
    const session = fc.dictionary(fc.string({ unit: 'grapheme' }).filter(nameable), value)
    const texts = fc.sample(session, { numRuns: 2000, seed: SEED }).map((data) => codec.encode(data))
    const results = phpDecodes(codec.name, texts)
    const wrong = texts.filter((text, index) => text !== '' && results[index]?.again !== text)
    expect(wrong.slice(0, 3)).toEqual([])
  })

  it('finds the same groups of references when it reads its own output', { timeout: 120_000 }, (ctx) => {
    ctx.skip(missing !== undefined, missing)
    let groupCount = 0
    for (const bytes of phpSessions(codec.name, SEED + 2, 2000)) {
      const data = codec.decode(bytesToText(bytes))
      const groups = referenceGroups(data)
      groupCount += groups.length
      expect(referenceGroups(codec.decode(codec.encode(data)))).toEqual(groups)
    }
    expect(groupCount).toBeGreaterThan(500)
  })
})
