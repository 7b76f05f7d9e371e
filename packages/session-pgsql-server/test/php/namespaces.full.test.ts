import { beforeAll, describe, expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { shown, signedIn } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import type { Php, Visitor } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

describeWithPhp('session.save_path of PHP', (place) => {
  let db: string
  let gateway: Gateway
  beforeAll(async () => {
    db = await place.database()
    gateway = await place.gateway({ db })
  })

  const site = (path: string, strict = 0): Promise<Php> =>
    place.php({ ini: { ...gateway.ini(path), 'session.use_strict_mode': strict }, workers: 1 })

  const idOf = (visitor: Visitor): string => visitor.cookies.get('PHPSESSID') as string

  const stored = () =>
    queryOnce<{ sess_id: string; sess_name: string }>(
      db,
      'SELECT sess_id, sess_name FROM php_session ORDER BY 1',
    )

  test('with another prefix reaches no session of this one, and writes nothing to it', async () => {
    const [shop, admin, strictAdmin] = await Promise.all([
      site('prefix=SHOP:'),
      site('prefix=ADMIN:'),
      site('prefix=ADMIN:', 1),
    ])
    const visitor = await signedIn(shop)
    const intruder = visitor.clone(admin)
    // PHP writes a new session, even if it is empty.
    for (const [query, session] of [
      [{ do: 'show' }, '{}'],
      [{ do: 'set', key: 'role' }, '{"role":1}'],
    ] as const) {
      const { text } = await intruder.visit('overlap.php', { query })
      expect(text.startsWith(session)).toBe(true)
      expect(text).toContain('Failed to write session data')
    }
    await intruder.visit('overlap.php', { query: { do: 'destroy' } })
    expect(await shown(visitor)).toEqual({ user: 'ada' })
    // In strict mode, the visitor gets a new id, and both sites work.
    const both = visitor.clone(strictAdmin)
    expect(await shown(both)).toEqual({})
    await both.visit('overlap.php', { query: { do: 'set', key: 'role' } })
    expect(idOf(both)).not.toBe(idOf(visitor))
    expect(await shown(both)).toEqual({ role: 1 })
    expect(await shown(visitor)).toEqual({ user: 'ada' })
  })

  test('with another database is refused with the reason, and reaches no session', async () => {
    const visitor = await signedIn(await site('prefix=PHPSESSID:'))
    for (const database of [1, 2]) {
      const other = visitor.clone(await site(`prefix=PHPSESSID:&database=${database}`))
      const { text } = await other.visit('overlap.php', { query: { do: 'set', key: 'role' } })
      expect(text).toContain('NODB there is only database 0')
      expect(text).not.toContain('"ada"')
    }
    expect(await shown(visitor.clone(await site('prefix=PHPSESSID:&database=0')))).toEqual({ user: 'ada' })
    expect(await shown(visitor)).toEqual({ user: 'ada' })
  })

  describe.each([0, 1])('with session.use_strict_mode = %i', (strict) => {
    test('takes no cookie for an alias of a session, and stores none under a name of the visitor', async () => {
      const php = await site('prefix=PHPSESSID:', strict)
      const visitor = await signedIn(php)
      const before = await stored()
      for (const alias of [`evil:${idOf(visitor)}`, `:${idOf(visitor)}`, `PHPSESSID:${idOf(visitor)}`]) {
        const intruder = php.visitor()
        intruder.cookies.set('PHPSESSID', encodeURIComponent(alias))
        const { text } = await intruder.visit('overlap.php', { query: { do: 'set', key: 'late' } })
        expect(text).not.toContain('"ada"')
        if (strict) expect(text).toBe('{"late":1}')
        else expect(text).toContain('Failed to read session data')
      }
      expect(await shown(visitor)).toEqual({ user: 'ada' })
      const names = (await stored()).filter(({ sess_id }) => !before.some((row) => row.sess_id === sess_id))
      expect(names.map(({ sess_name }) => sess_name)).toEqual(strict ? Array(3).fill('PHPSESSID') : [])
    })
  })
})
