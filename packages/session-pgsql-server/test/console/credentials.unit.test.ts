import { expect, test } from 'vitest'
import { Credentials } from '../../src/console/credentials.ts'

const passwords = { operator: 'correct horse', reader: 'battery staple' }

test('returns the role of a password, of the roles that may be tried', async () => {
  const credentials = new Credentials(passwords)
  const roleOf = (password: string, roles = credentials.roles) => credentials.roleOf(password, roles)
  expect(await roleOf('correct horse')).toBe('operator')
  expect(await roleOf('battery staple')).toBe('reader')
  expect(await roleOf('correct horse', ['reader'])).toBeUndefined()
  for (const wrong of ['', 'correct', 'correct horse ', 'undefined', 'null']) {
    expect([wrong, await roleOf(wrong)]).toEqual([wrong, undefined])
  }
  const alone = new Credentials({ operator: 'correct horse', reader: undefined })
  expect(alone.roles).toEqual(['operator'])
  expect(await alone.roleOf('undefined', alone.roles)).toBeUndefined()
})

test('signs for one role, one secret, one password and one purpose', async () => {
  const { sign, isSigned } = await new Credentials(passwords).signer('reader', 'secret')
  const signature = sign('user', 'token')
  expect(isSigned('user', 'token', signature)).toBe(true)
  const same = await new Credentials(passwords).signer('reader', 'secret')
  expect(same.isSigned('user', 'token', signature)).toBe(true)
  expect(isSigned('csrf', 'token', signature)).toBe(false)
  expect(isSigned('user', 'other', signature)).toBe(false)
  const others = [
    await new Credentials(passwords).signer('operator', 'secret'),
    await new Credentials(passwords).signer('reader', 'other secret'),
    await new Credentials({ ...passwords, reader: 'changed' }).signer('reader', 'secret'),
    // A role without a password.
    await new Credentials({ operator: 'correct horse' }).signer('reader', 'secret'),
    // Both roles with each other's passwords.
    await new Credentials({ operator: passwords.reader, reader: passwords.operator }).signer(
      'operator',
      'secret',
    ),
  ]
  expect(others.map((one) => one.isSigned('user', 'token', signature))).toEqual(others.map(() => false))
  // The operators' password does not matter for a reader's signature: a reader learns nothing about it.
  const changed = await new Credentials({ ...passwords, operator: 'changed' }).signer('reader', 'secret')
  expect(changed.isSigned('user', 'token', signature)).toBe(true)
})
