import { createCipheriv, createDecipheriv, hash, type KeyObject, randomFillSync } from 'node:crypto'
import { keyIdOf, SEALED_PREFIX, storedText, unreadable } from '../codec/sealed.ts'
import { HASHED_ID_PREFIX, hashedId } from './stored-id.ts'

/**
 * Encryption of a session's data at rest: AES-256-GCM, with a key for each row. The row's key is
 * HMAC-SHA256(key, hashed id): random IVs under a single key are exhausted after 2^32 writes, 50 days at 1,000 writes per
 * second. The additional authenticated data are the format, the column and the hashed id, so that a text copied from
 * another session or column is refused. They use the hashed id whichever form of the id is stored.
 */

/** The columns that are encrypted. `sess_base` contains whole sessions. */
export type SealedColumn = 'sess_data' | 'sess_err_message' | 'sess_base'

/** A master key. */
export interface CipherKey {
  /** Stored with each text. Not secret. */
  readonly id: string
  /** 32 bytes. */
  readonly key: KeyObject
}

/** How a process encrypts and decrypts. */
export interface Encryption {
  /** At least one. The first encrypts; all decrypt. */
  readonly keys: readonly CipherKey[]
  /** Whether texts are stored encrypted. */
  readonly write: boolean
  /** Whether texts that are stored in plain text are read. */
  readonly acceptPlain: boolean
}

/** Converts the texts of a table's rows between plain text and what is stored. The empty text is stored unchanged. */
export interface SessionCipher {
  /** Whether the process has keys. */
  readonly hasKeys: boolean
  /** Returns what is stored for a text. An unreadable text becomes the stored text that it stands for. */
  seal(text: string, column: SealedColumn, id: string): string
  /** Returns the text for what is stored, or an unreadable text (codec/sealed.ts). Never throws. */
  open(stored: string, column: SealedColumn, id: string): string
}

/** @param encryption undefined: texts are stored as they are */
export function cipherOf(encryption: Encryption | undefined): SessionCipher {
  return encryption === undefined ? NO_KEYS : new RowCipher(encryption)
}

const NO_KEYS: SessionCipher = {
  hasKeys: false,
  seal: storedText,
  open(stored) {
    const keyId = keyIdOf(stored)
    return keyId === undefined ? stored : unreadable(missingKey(keyId), stored)
  },
}

const ALGORITHM = 'aes-256-gcm'
const IV_BYTES = 12
const TAG_BYTES = 16

const HASHED_ID = /^h1:[A-Za-z0-9_-]{43}$/
const HASHED_ID_LENGTH = 46

/** Returns the hashed id, always `HASHED_ID_LENGTH` characters: another writer's ids may begin like hashed ones. */
function rowIdOf(id: string): string {
  return id.startsWith(HASHED_ID_PREFIX) && !HASHED_ID.test(id) ? hashedId(`\0${id}`) : hashedId(id)
}

/**
 * Derives a row's keys and additional data for every text. Measured: caching them for each id costs more than it saves,
 * 15 us instead of 5 us for a text of 0.5 KB with 20,000 sessions, because of the memory that the cache takes.
 */
class RowCipher implements SessionCipher {
  readonly hasKeys = true
  readonly #keys: ReadonlyMap<string, MasterKey>
  readonly #first: MasterKey
  readonly #write: boolean
  readonly #acceptPlain: boolean
  readonly #ivs = new RandomIvs()
  /** Reused for texts that fit in: a buffer for each takes 2 us. */
  readonly #output = Buffer.allocUnsafeSlow(16 * 1024)
  readonly #additionalData: Readonly<Record<SealedColumn, AdditionalData>> = {
    sess_data: new AdditionalData('sess_data'),
    sess_err_message: new AdditionalData('sess_err_message'),
    sess_base: new AdditionalData('sess_base'),
  }

  constructor({ keys, write, acceptPlain }: Encryption) {
    const masters = keys.map((key) => new MasterKey(key))
    this.#keys = new Map(masters.map((master) => [master.id, master]))
    this.#first = masters[0] as MasterKey
    this.#write = write
    this.#acceptPlain = acceptPlain
  }

  seal(text: string, column: SealedColumn, id: string): string {
    if (text === '' || text.charCodeAt(0) === 0 || !this.#write) return storedText(text)
    const hashed = rowIdOf(id)
    const iv = this.#ivs.next()
    const cipher = createCipheriv(ALGORITHM, this.#first.rowKey(hashed), iv)
    cipher.setAAD(this.#additionalData[column].of(hashed))
    const encrypted = cipher.update(text, 'utf8')
    // GCM has no padding: `final` returns no bytes.
    cipher.final()
    const end = IV_BYTES + encrypted.length
    const length = end + TAG_BYTES
    const bytes = length <= this.#output.length ? this.#output : Buffer.allocUnsafe(length)
    iv.copy(bytes)
    encrypted.copy(bytes, IV_BYTES)
    cipher.getAuthTag().copy(bytes, end)
    return this.#first.prefix + bytes.toString('base64url', 0, length)
  }

  open(stored: string, column: SealedColumn, id: string): string {
    if (stored === '') return ''
    const dot = stored.startsWith(SEALED_PREFIX) ? stored.indexOf('.', SEALED_PREFIX.length) : -1
    const master = dot < 0 ? undefined : this.#keys.get(stored.slice(SEALED_PREFIX.length, dot))
    const text = master && decrypted(stored.slice(dot + 1), master, this.#additionalData[column], rowIdOf(id))
    if (text !== undefined) return text
    const keyId = keyIdOf(stored)
    if (keyId === undefined) return this.#acceptPlain ? stored : unreadable(NOT_ENCRYPTED, stored)
    return unreadable(master === undefined ? missingKey(keyId) : notAuthentic(keyId), stored)
  }
}

/** Returns the decrypted text; undefined if it is not authentic. */
function decrypted(
  sealed: string,
  master: MasterKey,
  additionalData: AdditionalData,
  hashed: string,
): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url')
  const end = bytes.length - TAG_BYTES
  if (end <= IV_BYTES) return undefined
  const decipher = createDecipheriv(ALGORITHM, master.rowKey(hashed), bytes.subarray(0, IV_BYTES))
  decipher.setAAD(additionalData.of(hashed))
  // Always 16 bytes: a shorter tag could be guessed.
  decipher.setAuthTag(bytes.subarray(end))
  const text = decipher.update(bytes.subarray(IV_BYTES, end))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return text.toString('utf8')
}

/** Bytes of SHA-256's block and result. */
const BLOCK_BYTES = 64
const HASH_BYTES = 32

/** A key, from which the keys of rows are derived. */
class MasterKey {
  readonly id: string
  readonly prefix: string
  /** The inputs of HMAC's two hashes (RFC 2104). Their first block depends on the key alone. */
  readonly #inner = Buffer.alloc(BLOCK_BYTES + HASHED_ID_LENGTH, 0x36)
  readonly #outer = Buffer.alloc(BLOCK_BYTES + HASH_BYTES, 0x5c)
  readonly #rowKey = Buffer.alloc(HASH_BYTES)

  constructor({ id, key }: CipherKey) {
    this.id = id
    this.prefix = `${SEALED_PREFIX}${id}.`
    for (const [index, byte] of key.export().entries()) {
      this.#inner[index] = byte ^ 0x36
      this.#outer[index] = byte ^ 0x5c
    }
  }

  /**
   * Returns HMAC-SHA256(key, hashed id). It must be used before the next call. Measured: two one-shot hashes take 0.7 us,
   * an Hmac object 2.2 us. Their results are texts, because each new buffer is work for the garbage collector.
   */
  rowKey(hashed: string): Buffer {
    this.#inner.write(hashed, BLOCK_BYTES, 'latin1')
    this.#outer.write(hash('sha256', this.#inner, 'base64'), BLOCK_BYTES, 'base64')
    this.#rowKey.write(hash('sha256', this.#outer, 'base64'), 'base64')
    return this.#rowKey
  }
}

/** The additional authenticated data of a column: format, column and hashed id. */
class AdditionalData {
  readonly #bytes: Buffer
  readonly #at: number

  constructor(column: SealedColumn) {
    const start = `e1 ${column} `
    this.#at = start.length
    this.#bytes = Buffer.alloc(start.length + HASHED_ID_LENGTH, start, 'latin1')
  }

  /** Returns them for an id. They must be used before the next call. */
  of(hashed: string): Buffer {
    this.#bytes.write(hashed, this.#at, 'latin1')
    return this.#bytes
  }
}

/** Random IVs, drawn in blocks: measured, 0.07 us instead of 2 us for each. */
class RandomIvs {
  readonly #block = Buffer.allocUnsafeSlow(IV_BYTES * 512)
  #used = this.#block.length

  /** Returns an IV. It must be used before the next call. */
  next(): Buffer {
    if (this.#used === this.#block.length) {
      randomFillSync(this.#block)
      this.#used = 0
    }
    this.#used += IV_BYTES
    return this.#block.subarray(this.#used - IV_BYTES, this.#used)
  }
}

const NOT_ENCRYPTED =
  'The stored session is not encrypted, and encryption.acceptPlain is off. Turn it on until `session-pgsql encrypt` ' +
  'has encrypted every session, or destroy the session.'

function missingKey(keyId: string): string {
  return `The stored session is encrypted with the key "${keyId}", which is not among the keys of the option encryption. Add this key.`
}

function notAuthentic(keyId: string): string {
  return (
    `The stored session cannot be decrypted with the key "${keyId}": the key is not the one that encrypted it, or the ` +
    'text was changed, or copied from another session or column. Check the key, or destroy the session.'
  )
}
