import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { HttpError } from './responses.ts'

const ALGORITHM = 'aes-256-gcm'

/**
 * Encrypts page cursors. A cursor holds a session id, which a reader must neither see nor change. The key exists
 * only in this process, so a cursor is invalid after a restart.
 */
export class CursorCipher {
  readonly #key = randomBytes(32)

  encrypt(cursor: string): string {
    const nonce = randomBytes(12)
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce)
    const encrypted = Buffer.concat([cipher.update(cursor, 'utf8'), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), encrypted]).toString('base64url')
  }

  /** @throws 400 if this object did not encrypt the text */
  decrypt(text: string): string {
    try {
      const bytes = Buffer.from(text, 'base64url')
      const decipher = createDecipheriv(ALGORITHM, this.#key, bytes.subarray(0, 12), { authTagLength: 16 })
      decipher.setAuthTag(bytes.subarray(12, 28))
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8')
    } catch {
      throw new HttpError(
        400,
        'The page cursor is invalid, or is from before the console restarted. Start again at the first page.',
      )
    }
  }
}
