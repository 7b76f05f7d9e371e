import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { Gate, shown, signedIn } from './kit/gate.ts'
import { describeWithPhp } from './kit/place.ts'
import { phpredisVersion } from './kit/program.ts'

const version = phpredisVersion()
const missing =
  Number.parseInt(version, 10) >= 6
    ? undefined
    : `redis.session.early_refresh needs phpredis 6; this is ${version}`

describeWithPhp('redis.session.early_refresh', (place) => {
  test('extends the expiry at the read, and keeps the changes of requests that overlap', async (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const db = await place.database()
    const { ini } = await place.gateway({ db })
    const php = await place.php({ ini: { ...ini(), 'redis.session.early_refresh': 1 }, workers: 4 })
    const visitor = await signedIn(php)
    await queryOnce(db, 'UPDATE php_session SET sess_expire = extract(epoch FROM now())::bigint + 60')
    const gate = await Gate.make(php)
    const reader = gate.visit(visitor, { do: 'read' })
    const answers = ['a', 'b'].map((key) => gate.visit(visitor, { do: 'set', key }))
    await gate.arrived(3)
    // Before any request has ended.
    await until(async () => {
      const [row] = await queryOnce<{ left: string }>(
        db,
        'SELECT sess_expire - extract(epoch FROM now())::bigint AS left FROM php_session',
      )
      return Number(row?.left) > 1400
    }, 'the expiry to be extended')
    await gate.open(3)
    await Promise.all([reader, ...answers])
    expect(await shown(visitor)).toEqual({ user: 'ada', a: 1, b: 1 })
  })
})
