import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { parsePhpIni } from '../../src/php-ini.ts'
import { describeSettings, resolveSettings, type SaveHandlerOptions } from '../../src/settings/settings.ts'
import { messageOfInvalidOption } from '../support/invalid-option.ts'

const KEY = randomBytes(32)
const FORMS = [KEY.toString('base64'), KEY.toString('base64url'), KEY.toString('hex')]

type Environment = Record<string, string>

function resolve(encryption: unknown, environment: Environment = {}) {
  return resolveSettings({ encryption } as SaveHandlerOptions, { environment }).encryption
}

const messageOf = (encryption: unknown, environment: Environment = {}): string =>
  messageOfInvalidOption(() => resolve(encryption, environment))

describe('the option encryption', () => {
  test('is off without keys', () => {
    expect(resolve(undefined)).toBeUndefined()
    expect(resolve(undefined, { SESSION_PGSQL_ENCRYPTION_KEYS: '' })).toBeUndefined()
    expect(messageOf({})).toMatch(/expected keys, in the option or in SESSION_PGSQL_ENCRYPTION_KEYS/)
  })

  test('takes a key as bytes, base64, base64url or hexadecimal', () => {
    for (const key of [KEY, new Uint8Array(KEY), ...FORMS]) {
      const encryption = resolve({ keys: [{ id: 'a', key }] })
      expect(encryption).toMatchObject({ write: true, acceptPlain: false })
      expect(encryption?.keys.map(({ id, key }) => [id, key.export()])).toEqual([['a', KEY]])
    }
  })

  test('takes keys as text: id:key with any separator, comments, or JSON', () => {
    const other = randomBytes(32).toString('base64')
    for (const text of [
      `a:${FORMS[0]},b:${other}`,
      `a:${FORMS[1]} b:${other}`,
      `# new\r\na:${FORMS[2]}\r\n  # old\r\n\r\nb:${other}\r\n`,
      JSON.stringify([
        { id: 'a', key: FORMS[0] },
        { id: 'b', key: other },
      ]),
    ]) {
      for (const encryption of [
        resolve({ keys: text }),
        resolve(undefined, { SESSION_PGSQL_ENCRYPTION_KEYS: text }),
      ]) {
        expect(encryption?.keys.map(({ id }) => id)).toEqual(['a', 'b'])
        expect(encryption?.keys[0]?.key.export()).toEqual(KEY)
      }
    }
  })

  test('takes each unset field from the environment', () => {
    const environment = {
      SESSION_PGSQL_ENCRYPTION_KEYS: `a:${FORMS[0]}`,
      SESSION_PGSQL_ENCRYPTION_WRITE: 'off',
      SESSION_PGSQL_ENCRYPTION_ACCEPT_PLAIN: 'on',
    }
    expect(resolve(undefined, environment)).toMatchObject({ write: false, acceptPlain: true })
    expect(resolve({ write: true }, environment)).toMatchObject({
      keys: [{ id: 'a' }],
      write: true,
      acceptPlain: true,
    })
    expect(resolve({ keys: [{ id: 'b', key: KEY }] }, environment)).toMatchObject({ keys: [{ id: 'b' }] })
    expect(messageOf(undefined, { ...environment, SESSION_PGSQL_ENCRYPTION_WRITE: 'maybe' })).toBe(
      'environment variable SESSION_PGSQL_ENCRYPTION_WRITE: expected true or false; received "maybe"',
    )
  })

  test('is not in a php.ini, which every user of the machine may read', () => {
    for (const name of ['encryption', 'encryption_keys']) {
      const ini = parsePhpIni(`session_pgsql.${name} = "a:${FORMS[0]}"`, { environment: {} })
      expect(() => resolveSettings({}, { ini, environment: {} })).toThrow(/unknown directive/)
    }
  })

  test.each<[string, unknown, RegExp]>([
    ['no object', 'a:b', /^option encryption: expected an object such as \{ keys \}; received a string$/],
    ['an array', [], /received an array$/],
    ['another property', { keys: [], secret: 'x' }, /expected only keys, write and acceptPlain/],
    ['no keys', { keys: [] }, /expected at least one key, as \{ id, key \}/],
    ['no key', { keys: [{ id: 'a' }] }, /key "a": expected 32 bytes, .*; received undefined.*openssl rand/],
    ['a short key', { keys: [{ id: 'a', key: KEY.subarray(1) }] }, /received 31 bytes/],
    ['a password', { keys: [{ id: 'a', key: 'hunter2 hunter2' }] }, /received a text that is neither/],
    ['an id with a dot', { keys: [{ id: 'a.b', key: KEY }] }, /id of key 1 .* received another text/],
    ['a long id', { keys: [{ id: 'a'.repeat(33), key: KEY }] }, /1 to 32 characters/],
    ['no id', { keys: [{ key: KEY }] }, /id of key 1 .* received undefined/],
    ['null', { keys: [null] }, /id of key 1/],
    [
      'one id twice',
      {
        keys: [
          { id: 'a', key: KEY },
          { id: 'a', key: randomBytes(32) },
        ],
      },
      /an id of its own/,
    ],
    ['a text without ids', { keys: KEY.toString('hex') }, /entry 1 to be "id:key"; it has no id/],
    ['a broken JSON text', { keys: `[{"key":"${FORMS[0]}"` }, /it is not JSON/],
    [
      'write',
      { keys: [{ id: 'a', key: KEY }], write: 'no' },
      /option encryption.write: expected true or false/,
    ],
    ['write: false alone', { keys: [{ id: 'a', key: KEY }], write: false }, /Set acceptPlain: true too/],
  ])('refuses %s, and shows no key', (_what, encryption, message) => {
    const shown = messageOf(encryption)
    expect(shown).toMatch(message)
    for (const form of [...FORMS, 'hunter2']) expect(shown).not.toContain(form.slice(0, 20))
  })

  test('no printed form contains a key', () => {
    const settings = resolveSettings({ encryption: { keys: [{ id: 'a', key: KEY }] } }, { environment: {} })
    const copy = {
      ...settings,
      encryption: { ...settings.encryption, keys: settings.encryption?.keys.map((key) => ({ ...key })) },
    }
    for (const value of [settings, copy, settings.encryption, describeSettings(settings)]) {
      const printed = inspect(value, { depth: null, showHidden: true }) + JSON.stringify(value)
      for (const form of [...FORMS, KEY.toString('latin1'), inspect(KEY).slice(8, 40)]) {
        expect(printed).not.toContain(form)
      }
    }
    expect(describeSettings(settings).encryption).toEqual({ keys: ['a'], write: true, acceptPlain: false })
    expect(describeSettings(resolveSettings({}, { environment: {} })).encryption).toBeNull()
  })
})
