import { createCipheriv, createHash, createHmac, createSecretKey, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkReadable, keyIdOf, storedText, unreadableReason } from '../../src/codec/sealed.ts'
import { cipherOf, type Encryption, type SealedColumn } from '../../src/session/cipher.ts'
import { hashedId } from '../../src/session/stored-id.ts'

const secret = () => createSecretKey(randomBytes(32))
const one = { id: 'one', key: secret() }
const two = { id: 'two', key: secret() }

const cipherWith = (encryption: Partial<Encryption> = {}) =>
  cipherOf({ keys: [one], write: true, acceptPlain: false, ...encryption })

const COLUMNS: readonly SealedColumn[] = ['sess_data', 'sess_err_message', 'sess_base']

// What the table can hold: well-formed, without NUL.
const texts = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 300 })
  .map((text) => (text as string & { toWellFormed(): string }).toWellFormed().replaceAll('\0', ''))
  .filter((text) => text !== '')
const ids = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 64 })
const columns = fc.constantFrom(...COLUMNS)

describe('a sealed text', () => {
  test('opens to what it was, by its row and column only', () => {
    const cipher = cipherWith()
    fc.assert(
      fc.property(texts, ids, ids, columns, columns, (text, id, otherId, column, otherColumn) => {
        const sealed = cipher.seal(text, column, id)
        expect(sealed).toMatch(/^e1\.one\.[A-Za-z0-9_-]+$/)
        expect(keyIdOf(sealed)).toBe('one')
        // Another process opens it, and one that stores hashed ids.
        expect(cipherWith().open(sealed, column, id)).toBe(text)
        expect(cipherWith().open(sealed, column, hashedId(id))).toBe(text)
        expect(cipher.open(cipher.seal(text, column, hashedId(id)), column, id)).toBe(text)
        if (otherId !== id) expect(unreadableReason(cipher.open(sealed, column, otherId))).toContain('"one"')
        if (otherColumn !== column) {
          expect(unreadableReason(cipher.open(sealed, otherColumn, id))).toContain('"one"')
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('does not open if one character is changed, or bytes are cut off or added', () => {
    const cipher = cipherWith()
    fc.assert(
      fc.property(texts, fc.nat(), fc.constantFrom(...'ABab01-_'), (text, at, character) => {
        const sealed = cipher.seal(text, 'sess_data', 'id')
        const place = 'e1.one.'.length + (at % (sealed.length - 'e1.one.'.length))
        const changed = sealed.slice(0, place) + character + sealed.slice(place + 1)
        const bytes = (of: string) => Buffer.from(of.slice('e1.one.'.length), 'base64url')
        // The last character has bits that no byte uses.
        if (!bytes(changed).equals(bytes(sealed))) {
          expect(unreadableReason(cipher.open(changed, 'sess_data', 'id'))).toBeDefined()
        }
        for (const wrong of [sealed.slice(0, -2), `${sealed}AA`, sealed.slice(0, place)]) {
          expect(unreadableReason(cipher.open(wrong, 'sess_data', 'id'))).toBeDefined()
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('is AES-256-GCM with a key of the row, and format, column and hashed id as additional data', () => {
    const id = 'some-id'
    const hashed = `h1:${createHash('sha256').update(id).digest('base64url')}`
    const iv = randomBytes(12)
    const rowKey = createHmac('sha256', one.key).update(hashed).digest()
    const cipher = createCipheriv('aes-256-gcm', rowKey, iv).setAAD(Buffer.from(`e1 sess_data ${hashed}`))
    const bytes = Buffer.concat([iv, cipher.update('{"ä":1}', 'utf8'), cipher.final(), cipher.getAuthTag()])
    expect(cipherWith().open(`e1.one.${bytes.toString('base64url')}`, 'sess_data', id)).toBe('{"ä":1}')
  })

  test('opens in the row of another writer whose id only begins like a hashed one, and in no other', () => {
    const cipher = cipherWith()
    const others = ['h1:', 'h1:a', `h1:${'a'.repeat(42)}`, `h1:${'a'.repeat(42)}ä`, `h1:${'a'.repeat(60)}`]
    for (const id of others) {
      const sealed = cipher.seal('text', 'sess_data', id)
      for (const other of others) {
        const opened = cipher.open(sealed, 'sess_data', other)
        if (other === id) expect(opened).toBe('text')
        else expect(unreadableReason(opened)).toBeDefined()
      }
    }
  })

  test('has an IV of its own each time', () => {
    const cipher = cipherWith()
    const ivs = Array.from({ length: 2000 }, () =>
      cipher.seal('text', 'sess_data', 'id').slice('e1.one.'.length, 'e1.one.'.length + 16),
    )
    expect(new Set(ivs).size).toBe(2000)
  })

  test('opens with any of the keys, and not with a key of the same id', () => {
    const sealed = cipherWith().seal('text', 'sess_data', 'id')
    expect(cipherWith({ keys: [two, one] }).open(sealed, 'sess_data', 'id')).toBe('text')
    const opened = cipherWith({ keys: [{ id: 'one', key: secret() }] }).open(sealed, 'sess_data', 'id')
    expect(unreadableReason(opened)).toContain('"one"')
  })
})

describe('a text that cannot be opened', () => {
  const sealed = cipherWith().seal('text', 'sess_data', 'id')
  const plain = '{"a":1}'

  test('is UNDECODABLE with the reason, and is sealed to what was stored', () => {
    const cases = [
      { opened: cipherOf(undefined).open(sealed, 'sess_data', 'id'), stored: sealed, reason: /key "one"/ },
      {
        opened: cipherWith({ keys: [two] }).open(sealed, 'sess_data', 'id'),
        stored: sealed,
        reason: /key "one"/,
      },
      { opened: cipherWith().open(sealed, 'sess_data', 'other'), stored: sealed, reason: /copied/ },
      { opened: cipherWith().open(plain, 'sess_data', 'id'), stored: plain, reason: /acceptPlain/ },
    ]
    for (const { opened, stored, reason } of cases) {
      expect(opened.includes('\0')).toBe(true)
      expect(() => checkReadable(opened)).toThrow(expect.objectContaining({ code: 'UNDECODABLE' }))
      expect(unreadableReason(opened)).toMatch(reason)
      expect(unreadableReason(opened)).not.toContain(plain)
      for (const cipher of [
        cipherOf(undefined),
        cipherWith(),
        cipherWith({ write: false, acceptPlain: true }),
      ]) {
        expect(cipher.seal(opened, 'sess_data', 'id')).toBe(stored)
      }
      expect(storedText(opened)).toBe(stored)
    }
  })

  test('is no plain text: that opens without keys, or with acceptPlain', () => {
    fc.assert(
      fc.property(texts, (text) => {
        fc.pre(keyIdOf(text) === undefined)
        expect(cipherOf(undefined).open(text, 'sess_data', 'id')).toBe(text)
        expect(cipherWith({ acceptPlain: true }).open(text, 'sess_data', 'id')).toBe(text)
        expect(cipherWith({ acceptPlain: true, write: false }).seal(text, 'sess_data', 'id')).toBe(text)
      }),
    )
    for (const cipher of [cipherOf(undefined), cipherWith()]) {
      expect(cipher.seal('', 'sess_data', 'id')).toBe('')
      expect(cipher.open('', 'sess_data', 'id')).toBe('')
    }
  })
})
