import { createSecretKey, type KeyObject } from 'node:crypto'
import { KEY_ID } from '../codec/sealed.ts'
import { hidden } from '../hidden.ts'
import type { CipherKey, Encryption } from '../session/cipher.ts'
import { isBoolean, problem, typeName } from './checks.ts'
import type { EncryptionKey, EncryptionOption } from './options.ts'

/** The option `encryption` and its environment variables. No message contains a key. */

type Environment = Readonly<Record<string, string | undefined>>

const KEY_BYTES = 32

const VARIABLES = {
  keys: 'SESSION_PGSQL_ENCRYPTION_KEYS',
  write: 'SESSION_PGSQL_ENCRYPTION_WRITE',
  acceptPlain: 'SESSION_PGSQL_ENCRYPTION_ACCEPT_PLAIN',
} as const

/**
 * Resolves the option; each of its fields that is unset comes from the environment.
 *
 * @param booleanOf reads a boolean in the environment
 * @returns undefined if there are no keys
 * @throws INVALID_OPTION
 */
export function resolveEncryption(
  option: EncryptionOption | undefined,
  environment: Environment,
  booleanOf: (text: string) => unknown,
): Encryption | undefined {
  if (option !== undefined && (typeof option !== 'object' || option === null || Array.isArray(option))) {
    throw problem(`option encryption: expected an object such as { keys }; received ${typeName(option)}`)
  }
  for (const name of Object.keys(option ?? {})) {
    if (!Object.hasOwn(VARIABLES, name)) {
      throw problem('option encryption: expected only keys, write and acceptPlain; it has another property')
    }
  }
  const flagOf = (name: 'write' | 'acceptPlain', fallback: boolean): boolean => {
    const value = option?.[name]
    if (value !== undefined) return isBoolean(`option encryption.${name}`, value)
    const text = environment[VARIABLES[name]]
    return text ? isBoolean(`environment variable ${VARIABLES[name]}`, booleanOf(text)) : fallback
  }
  const [where, given] =
    option?.keys === undefined
      ? [`environment variable ${VARIABLES.keys}`, environment[VARIABLES.keys] || undefined]
      : ['option encryption.keys', option.keys]
  if (given === undefined) {
    if (option === undefined) return undefined
    throw problem(`option encryption: expected keys, in the option or in ${VARIABLES.keys}`)
  }
  const keys = keysOf(where, given)
  const write = flagOf('write', true)
  const acceptPlain = flagOf('acceptPlain', false)
  if (!write && !acceptPlain) {
    throw problem(
      'option encryption: with write: false, this process could not read what it writes. Set acceptPlain: true too',
    )
  }
  return Object.freeze({ keys, write, acceptPlain })
}

/** Returns the encryption for `status()`: the ids of the keys, and no key. */
export function describeEncryption(encryption: Encryption | undefined): object | null {
  if (encryption === undefined) return null
  const { keys, write, acceptPlain } = encryption
  return { keys: keys.map(({ id }) => id), write, acceptPlain }
}

function keysOf(where: string, given: unknown): readonly CipherKey[] {
  const entries = typeof given === 'string' ? entriesOf(where, given) : given
  if (!Array.isArray(entries) || entries.length === 0) {
    throw problem(`${where}: expected at least one key, as { id, key }; received ${typeName(entries)}`)
  }
  const keys = entries.map((entry: Partial<EncryptionKey> | null, index): CipherKey => {
    const { id, key } = entry ?? {}
    if (typeof id !== 'string' || !KEY_ID.test(id)) {
      throw problem(
        `${where}: expected the id of key ${index + 1} to be 1 to 32 characters of A-Z a-z 0-9 _ -; received ${typeof id === 'string' ? 'another text' : typeName(id)}`,
      )
    }
    return Object.freeze(hidden({ id }, { key: secretOf(`${where}: key "${id}"`, key) }))
  })
  if (new Set(keys.map(({ id }) => id)).size < keys.length) {
    throw problem(`${where}: expected each key to have an id of its own`)
  }
  return Object.freeze(keys)
}

/** Parses keys in a text: `id:key`, separated by blanks, commas or line ends; or a JSON array of `{ id, key }`. */
function entriesOf(where: string, text: string): unknown {
  if (text.trimStart().startsWith('[')) {
    try {
      return JSON.parse(text)
    } catch {
      // The parser's message quotes the text.
      throw problem(`${where}: expected a JSON array of { "id", "key" }; it is not JSON`)
    }
  }
  const lines = text.split(/\r?\n/).filter((line) => !line.trimStart().startsWith('#'))
  return lines
    .flatMap((line) => line.split(/[\s,]+/))
    .filter((entry) => entry !== '')
    .map((entry, index) => {
      const at = entry.indexOf(':')
      // Without an id, the text may be a key: it is not shown.
      if (at < 1) throw problem(`${where}: expected entry ${index + 1} to be "id:key"; it has no id`)
      return { id: entry.slice(0, at), key: entry.slice(at + 1) }
    })
}

function secretOf(where: string, key: unknown): KeyObject {
  const bytes =
    typeof key === 'string'
      ? bytesOf(key)
      : key instanceof Uint8Array
        ? Buffer.from(key.buffer, key.byteOffset, key.byteLength)
        : undefined
  if (bytes?.length === KEY_BYTES) return createSecretKey(bytes)
  const received =
    bytes !== undefined
      ? `${bytes.length} bytes`
      : typeof key === 'string'
        ? 'a text that is neither'
        : typeName(key)
  throw problem(
    `${where}: expected ${KEY_BYTES} bytes, as a Uint8Array or as base64 or hexadecimal text; received ${received}. Create one with: openssl rand -base64 32`,
  )
}

/** Returns the bytes of a text in hexadecimal, base64 or base64url. A key in hexadecimal is never one in base64. */
function bytesOf(text: string): Buffer | undefined {
  if (/^[0-9A-Fa-f]{64}$/.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : undefined
}
