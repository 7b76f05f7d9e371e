import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { Gate, shown, signedIn } from './kit/gate.ts'
import { describeWithPhp } from './kit/place.ts'

describeWithPhp('the lifetime of sessions of PHP', (place) => {
  test('--max-lifetime ends a session, however often it is used', async () => {
    const db = await place.database()
    const { ini } = await place.gateway({ db, argv: ['--max-lifetime', '3600'] })
    const php = await place.php({ ini: ini() })
    const visitor = await signedIn(php)
    const age = (seconds: number) =>
      queryOnce(db, `UPDATE php_session SET sess_began = sess_began - ${seconds}`)
    await age(3500)
    await visitor.visit('overlap.php', { query: { do: 'set', key: 'a', value: '1' } })
    expect(await shown(visitor)).toMatchObject({ user: 'ada' })
    const [row] = await queryOnce<{ left: string }>(
      db,
      'SELECT sess_expire - extract(epoch FROM now())::bigint AS left FROM php_session',
    )
    expect(Number(row?.left)).toBeLessThanOrEqual(101)
    await age(101)
    expect(await shown(visitor)).not.toHaveProperty('user')
  })

  test('a request in progress saves a session that has just expired', async () => {
    const db = await place.database()
    const { ini } = await place.gateway({ db })
    const php = await place.php({ ini: ini(), workers: 2 })
    const visitor = await signedIn(php)
    const gate = await Gate.make(php)
    const answer = gate.visit(visitor, { do: 'set', key: 'a' })
    await gate.arrived(1)
    await queryOnce(db, 'UPDATE php_session SET sess_expire = floor(extract(epoch FROM now()))::bigint - 30')
    await gate.open(1)
    await answer
    expect(await shown(visitor)).toEqual({ user: 'ada', a: 1 })
  })
})
