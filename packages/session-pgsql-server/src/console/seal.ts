import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { Refusal } from './answers.ts'

const ALGORITHM = 'aes-256-gcm'

/** Texts that somebody carries for us without being able to read or change them: cursors, which hold an id. */
export class Seal {
  readonly #key = randomBytes(32)

  close(text: string): string {
    const nonce = randomBytes(12)
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce)
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')
  }

  /** @throws 400 for what was not sealed here */
  open(sealed: string): string {
    try {
      const bytes = Buffer.from(sealed, 'base64url')
      const decipher = createDecipheriv(ALGORITHM, this.#key, bytes.subarray(0, 12), { authTagLength: 16 })
      decipher.setAuthTag(bytes.subarray(12, 28))
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8')
    } catch {
      throw new Refusal(400, 'This page of the list is not known any more. Begin at the first.')
    }
  }
}
