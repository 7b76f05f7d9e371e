import { randomBytes, scrypt as scryptCallback, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { query } from './database.js'

const scrypt = promisify(scryptCallback)

/** OWASP's minimum. A hash takes 128 MiB and some 0.3 seconds. */
const COST = { N: 2 ** 17, r: 8, p: 1, maxmem: 2 ** 28 }

/** The hash of no known password. */
const NO_PASSWORD = `${'A'.repeat(22)}.${'A'.repeat(43)}`

export async function hashPassword(password) {
  const salt = randomBytes(16)
  const hash = await scrypt(password, salt, 32, COST)
  return `${salt.toString('base64url')}.${hash.toString('base64url')}`
}

/** Returns the user with the email address and the password of a form, or undefined. */
export async function authenticate(form) {
  const email = String(form.get('email')).trim().toLowerCase()
  const [user] = await query('SELECT id, name, password FROM users WHERE email = $1', [email])
  // An unknown address takes the same time, so the time does not tell who has an account.
  const isRight = await matches(form.get('password'), user?.password ?? NO_PASSWORD)
  return isRight ? { id: Number(user.id), name: user.name } : undefined
}

/** Deletes a user, if the password is right. The trigger of sql/sessions.sql ends all sessions of the user. */
export async function deleteUser(id, password) {
  const [user] = await query('SELECT password FROM users WHERE id = $1', [id])
  if (!(await matches(password, user?.password ?? NO_PASSWORD))) return false
  await query('DELETE FROM users WHERE id = $1', [id])
  return true
}

async function matches(password, stored) {
  const [salt, hash] = stored.split('.').map((part) => Buffer.from(part, 'base64url'))
  return timingSafeEqual(await scrypt(String(password), salt, hash.length, COST), hash)
}
