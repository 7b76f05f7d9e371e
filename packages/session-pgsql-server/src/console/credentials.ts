import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { Role } from './api.ts'

const derive = promisify(scrypt) as (password: string, salt: Buffer, length: number) => Promise<Buffer>

const LENGTH = 32

/** The passwords by role. */
export type Passwords = Readonly<Record<'operator', string>> &
  Readonly<Partial<Record<'reader', string | undefined>>>

/** Signs texts for one role. */
export interface Signer {
  /** @param purpose keeps signatures of different kinds apart */
  sign(purpose: string, text: string): string
  isSigned(purpose: string, text: string, signature: string): boolean
}

/** Verifies passwords with scrypt, and derives the keys that sign cookies. */
export class Credentials {
  readonly #passwords: ReadonlyMap<Role, string>
  /** For this process only: nothing outside of it can be compared with the derived passwords. */
  readonly #salt = randomBytes(LENGTH)
  #derived: Promise<ReadonlyMap<Role, Buffer>> | undefined
  /** The last signer of each role, because its derivation takes some 50 ms. */
  readonly #signers = new Map<Role, { readonly secret: string; readonly signer: Promise<Signer> }>()
  /** The verification in progress. One at a time, so that clients cannot occupy all threads of the process. */
  #verifying: Promise<unknown> = Promise.resolve()

  constructor({ operator, reader }: Passwords) {
    this.#passwords = new Map<Role, string>([
      ['operator', operator],
      ...(reader === undefined ? [] : [['reader', reader] as const]),
    ])
  }

  /** The roles that have a password. */
  get roles(): readonly Role[] {
    return [...this.#passwords.keys()]
  }

  /**
   * Returns the role whose password this is. Compares with all given roles, so that the time does not tell which one
   * matched.
   *
   * @param roles those that may be tried
   */
  async roleOf(password: string, roles: readonly Role[]): Promise<Role | undefined> {
    const verifying = this.#verifying.then(async () => {
      this.#derived ??= this.#deriveAll()
      const [derived, candidate] = [await this.#derived, await derive(password, this.#salt, LENGTH)]
      return roles.filter((role) => timingSafeEqual(derived.get(role) ?? this.#salt, candidate))[0]
    })
    this.#verifying = verifying.catch(() => {})
    return verifying
  }

  /**
   * Returns the signer of a role. Its key is derived from a random secret and the role's password. So a signature tells
   * nothing of the password without the secret; without the password the secret signs nothing; and another password
   * invalidates all signatures.
   */
  signer(role: Role, secret: string): Promise<Signer> {
    const last = this.#signers.get(role)
    if (last?.secret === secret) return last.signer
    const password = this.#passwords.get(role) ?? randomBytes(LENGTH).toString('base64url')
    const signer = derive(password, Buffer.from(`${role} ${secret}`), LENGTH).then(signerOf)
    this.#signers.set(role, { secret, signer })
    return signer
  }

  async #deriveAll(): Promise<ReadonlyMap<Role, Buffer>> {
    const derived = new Map<Role, Buffer>()
    for (const [role, password] of this.#passwords) {
      derived.set(role, await derive(password, this.#salt, LENGTH))
    }
    return derived
  }
}

function signerOf(key: Buffer): Signer {
  const sign = (purpose: string, text: string): string =>
    createHmac('sha256', key).update(`${purpose} ${text}`).digest('base64url')
  return { sign, isSigned: (purpose, text, signature) => isSameSecret(sign(purpose, text), signature) }
}

/** Compares two secrets in a time that does not depend on their content or length. */
export function isSameSecret(a: string, b: string): boolean {
  const key = randomBytes(LENGTH)
  const [first, second] = [a, b].map((text) => createHmac('sha256', key).update(text).digest())
  return timingSafeEqual(first as Buffer, second as Buffer)
}
