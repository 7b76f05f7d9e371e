import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  bytesToName,
  bytesToText,
  isWellFormed,
  MARKER,
  nameToBytes,
  textToBytes,
} from '../../src/codec/bytes.ts'
import { phpBinaryCodec, phpCodec, phpSerializeCodec } from '../../src/codec/php.ts'

// Each test has thousands of runs, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 })

/** Pieces of UTF-8, whole and cut. Random bytes alone are almost never UTF-8. */
const bytes = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc.string({ unit: 'binary', maxLength: 6 }).map((text) => Buffer.from(text)),
      fc
        .tuple(fc.string({ unit: 'binary', maxLength: 3 }), fc.nat(3))
        .map(([text, cut]) => Buffer.from(text).subarray(cut)),
      fc.constantFrom(Buffer.from(MARKER), Buffer.from('%00'), Buffer.from([0])),
      fc.constantFrom(...['c080', 'eda080', 'f4908080', 'e08080', 'f08080', 'efbbbf', 'ff'].map(hex)),
    ),
  )
  .map((parts) => Buffer.concat(parts))

function hex(digits: string): Buffer {
  return Buffer.from(digits, 'hex')
}

describe('bytes as text', () => {
  it('converts any bytes to a text that PostgreSQL accepts, and back', () => {
    fc.assert(
      fc.property(bytes, (original) => {
        const text = bytesToText(original)
        expect(text).not.toContain('\0')
        expect(isWellFormed(text)).toBe(true)
        expect(textToBytes(text).equals(original)).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })

  it('does not change bytes that PostgreSQL accepts as text', () => {
    fc.assert(
      fc.property(bytes, (original) => {
        const plain = isUtf8(original) && !original.includes(0) && !original.toString().startsWith(MARKER)
        expect(bytesToText(original) === original.toString()).toBe(plain)
        expect(bytesToText(original).startsWith(MARKER)).toBe(!plain)
      }),
      { numRuns: 5000 },
    )
  })

  it.each([
    ['user|s:2:"é";', 'user|s:2:"é";'],
    ['100 % \0', `${MARKER}100 %25 %00`],
    [hex('c3a9ff'), `${MARKER}é%FF`],
    [hex('e2826178'), `${MARKER}%E2%82ax`],
    [hex('f09f9880f09f98'), `${MARKER}😀%F0%9F%98`],
    [MARKER, MARKER + MARKER.replace('%', '%25')],
    ['', ''],
  ])('converts %j to %j', (given, text) => {
    expect(bytesToText(Buffer.from(given as string))).toBe(text)
  })

  it('accepts any kind of Uint8Array', () => {
    const within = new Uint8Array([1, 97, 0, 98, 1]).subarray(1, 4)
    expect(bytesToText(within)).toBe(`${MARKER}a%00b`)
  })

  it.each(['%', 'a%0', '%zz', '%0g'])('refuses %j after the marker', (text) => {
    expect(() => textToBytes(MARKER + text)).toThrow(/hexadecimal digits after % at byte \d+/)
  })

  it('has a marker with which no session starts', () => {
    for (const rest of ['', 'i:1;', 'a|i:1;', '{}', `${'x'.repeat(200)}i:1;`]) {
      for (const codec of [phpCodec, phpSerializeCodec, phpBinaryCodec]) {
        // The marker is escaped here, so the codec reads the marker itself.
        expect(() => codec.decode(bytesToText(Buffer.from(MARKER + rest)))).toThrow(/Expected/)
      }
    }
  })
})

describe('bytes as names', () => {
  it('converts any bytes to a name and back', () => {
    fc.assert(
      fc.property(bytes, (original) => {
        expect(nameToBytes(bytesToName(original))?.equals(original)).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })

  it('keeps UTF-8 and converts every other byte to a lone surrogate', () => {
    expect(bytesToName(Buffer.from('größe'))).toBe('größe')
    expect(bytesToName(hex('636166e9'))).toBe('caf\udce9')
  })

  it.each(['\ud800', 'a\udc00', '\udc7fb', '\udd00'])('returns undefined for the bytes of %j', (name) => {
    expect(nameToBytes(name)).toBeUndefined()
  })
})

describe('large data that is not UTF-8', () => {
  /** Seconds of this process's time: other processes of a busy machine do not count. */
  const secondsOf = (work: () => unknown): number => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }
  const SIZE = 7_900_000
  const samples: [string, Buffer][] = [
    ['bytes that are never UTF-8', Buffer.alloc(SIZE, 0xff)],
    ['NUL', Buffer.alloc(SIZE, 0)],
    ['Latin-1', Buffer.alloc(SIZE, Buffer.from('Größe ', 'latin1'))],
    ['random bytes', Buffer.alloc(SIZE, hex('9f4be7003a25c3d1fe80'))],
  ]

  it.each(samples)('takes little time to convert: %s', (_, bytes) => {
    expect(secondsOf(() => expect(textToBytes(bytesToText(bytes)).equals(bytes)).toBe(true))).toBeLessThan(2)
    expect(secondsOf(() => expect(nameToBytes(bytesToName(bytes))?.equals(bytes)).toBe(true))).toBeLessThan(4)
  })
})
