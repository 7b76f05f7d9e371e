import { expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../../session-pgsql/test/support/postgres.ts'
import { promote, startStandby, synchronous } from '../../../session-pgsql/test/support/standby.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import { Talk } from '../gateway/talk.ts'
import { Gate, shown, signedIn } from './kit/gate.ts'
import type { Visitor } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

describeWithPhp('several database servers behind the gateway', (place) => {
  async function servers(count: number): Promise<PostgresServer[]> {
    const settings = { fsync: 'off' }
    const started = await Promise.all(
      Array.from({ length: count }, () => startPostgres({ version: '18', settings })),
    )
    place.after(() => Promise.all(started.map((server) => server.remove())))
    return started
  }

  const entry = (server: PostgresServer, name: string): string =>
    `host=${server.host} port=${server.port} dbname=postgres user=postgres name=${name}`

  const idOf = (visitor: Visitor): string => visitor.cookies.get('PHPSESSID') as string

  async function liesOn(server: PostgresServer, visitor: Visitor): Promise<boolean> {
    const sql = 'SELECT 1 FROM php_session WHERE sess_id = $1 AND sess_destroyed IS NULL'
    return (await server.query(sql, [idOf(visitor)])).length > 0
  }

  test('serve the sessions of an unreachable server from the other one, and move them back afterwards', async () => {
    const [a, b] = (await servers(2)) as [PostgresServer, PostgresServer]
    const gateway = await place.gateway({
      db: `${entry(a, 'a')};${entry(b, 'b')}`,
      env: { SESSION_PGSQL_OPERATION_TIMEOUT: '20' },
    })
    const php = await place.php({ ini: gateway.ini('prefix=PHPSESSID:&persistent=1') })
    const homes: { a?: Visitor; b?: Visitor } = {}
    while (homes.a === undefined || homes.b === undefined) {
      const visitor = await signedIn(php)
      homes[(await liesOn(a, visitor)) ? 'a' : 'b'] = visitor
    }
    await a.stop('immediate')
    expect(await shown(homes.b)).toEqual({ user: 'ada' })
    // As if the session had expired: the user logs in again.
    expect(await eventually(() => shown(homes.a as Visitor))).toEqual({})
    await homes.a.visit('overlap.php', { query: { do: 'set', key: 'user', value: 'eve' } })
    expect(await shown(homes.a)).toEqual({ user: 'eve' })
    expect(await liesOn(b, homes.a)).toBe(true)
    // The gateway can serve, so it answers PING.
    const talk = new Talk(gateway.port)
    place.after(async () => talk.end())
    expect(await talk.ask('PING')).toBe('+PONG\r\n')
    expect(JSON.parse((await talk.ask('SESSION.STATUS')).split('\r\n')[1] as string).servers).toMatchObject([
      { name: 'a', health: 'down' },
      { name: 'b', health: 'up' },
    ])
    await a.start()
    await eventually(async () => expect(await liesOn(a, homes.a as Visitor)).toBe(true))
    const both = await shown(homes.a)
    expect(both).toMatchObject({ user: expect.stringMatching(/ada|eve/) })
    expect(await shown(homes.b)).toEqual({ user: 'ada' })
  })

  test('give no session, and never an empty one, with whenHomeIsDown = error', async () => {
    const [a, b] = (await servers(2)) as [PostgresServer, PostgresServer]
    const gateway = await place.gateway({
      db: `${entry(a, 'a')};${entry(b, 'b')}`,
      env: { SESSION_PGSQL_WHEN_HOME_IS_DOWN: 'error', SESSION_PGSQL_OPERATION_TIMEOUT: '20' },
    })
    const php = await place.php({ ini: gateway.ini() })
    let visitor = await signedIn(php)
    while (!(await liesOn(a, visitor))) visitor = await signedIn(php)
    await a.stop('immediate')
    await expect(shown(visitor)).rejects.toThrow('Failed to read session data')
    await a.start()
    expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
  })

  test('keep an acknowledged write when a standby is promoted during a request', async () => {
    const [first] = (await servers(1)) as [PostgresServer]
    const second = await startStandby(first)
    place.after(() => second.remove())
    await synchronous(first)
    const gateway = await place.gateway({
      db: `host=${first.host},${second.host} port=${first.port},${second.port} dbname=postgres user=postgres target_session_attrs=read-write`,
      env: { SESSION_PGSQL_OPERATION_TIMEOUT: '10' },
    })
    const php = await place.php({ ini: gateway.ini() })
    const visitor = await signedIn(php)
    const gate = await Gate.make(php)
    const writer = gate.visit(visitor, { do: 'set', key: 'late' })
    await gate.arrived(1)
    await first.kill9()
    await promote(second)
    await gate.open(1)
    const { text } = await writer
    const session = await eventually(() => shown(visitor))
    // A write without a warning is stored.
    if (text.includes('Failed to write')) expect(session).toMatchObject({ user: 'ada' })
    else expect(session).toEqual({ user: 'ada', late: 1 })
  })
})
