import { beforeAll, describe, expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../../session-pgsql/test/support/postgres.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import { Gate, shown, signedIn } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import type { Php, Visitor } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

describeWithPhp('PHP during faults', (place) => {
  let server: PostgresServer
  let gateway: Gateway
  beforeAll(async () => {
    server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    place.after(() => server.remove())
    gateway = await place.gateway({ db: server.url(), env: { SESSION_PGSQL_OPERATION_TIMEOUT: '2' } })
  })

  describe.each([
    ['a connection for each request', ''],
    ['persistent connections', '&persistent=1'],
  ])('%s', (_, more) => {
    let php: Php
    beforeAll(async () => {
      php = await place.php({ ini: gateway.ini(`prefix=PHPSESSID:${more}`) })
    })

    test('has no session, and never an empty one, while the database is stopped, and the same session afterwards', async () => {
      const visitor = await signedIn(php)
      const id = visitor.cookies.get('PHPSESSID')
      await server.stop()
      try {
        const { text } = await visitor.visit('overlap.php', { query: { do: 'show' } })
        expect(text).toContain('Warning: session_start(): Failed to read session data: redis')
        expect(text).toMatch(/no session$/)
      } finally {
        await server.start()
      }
      expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
      expect(visitor.cookies.get('PHPSESSID')).toBe(id)
    })

    test('gets a warning when the database stops between read and write', async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const writer = gate.visit(visitor, { do: 'set', key: 'late' })
      await gate.arrived(1)
      await server.stop()
      try {
        await gate.open(1)
        expect((await writer).text).toContain('Failed to write session data')
      } finally {
        await server.start()
      }
      expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
    })

    test('gets an error in time while the database hangs, and the same session afterwards', async () => {
      const visitor = await signedIn(php)
      server.pause()
      try {
        const { text } = await visitor.visit('overlap.php', { query: { do: 'show' } })
        expect(text).toContain('Failed to read session data')
      } finally {
        server.resume()
      }
      expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
    })

    test('has no session while the gateway is killed, and the same session after its restart', async () => {
      const other = await place.gateway({ db: server.url() })
      const through = await place.php({ ini: other.ini(`prefix=PHPSESSID:${more}`) })
      const visitor = await signedIn(through)
      await other.stop('SIGKILL')
      const { text } = await visitor.visit('overlap.php', { query: { do: 'show' } })
      expect(text).toContain('Failed to read session data')
      await place.gateway({ db: server.url(), port: other.port })
      expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
    })

    test.each(['SIGTERM', 'SIGKILL'] as const)(
      'does not restore a session that was logged out when the gateway is restarted with %s during a request',
      async (signal) => {
        const other = await place.gateway({ db: server.url() })
        const through = await place.php({ ini: other.ini(`prefix=PHPSESSID:${more}`) })
        const visitor = await signedIn(through)
        const gate = await Gate.make(through)
        const writer = gate.visit(visitor, { do: 'set', key: 'late' })
        await gate.arrived(1)
        await other.stop(signal)
        await place.gateway({ db: server.url(), port: other.port })
        await visitor.clone().visit('overlap.php', { query: { do: 'destroy' } })
        await gate.open(1)
        // PHP reconnects and gets an error, or it gives up.
        await writer
        expect(await shown(visitor)).toEqual({})
      },
    )

    test('writes completely or gets a warning when the gateway is killed and restarted between read and write', async () => {
      const other = await place.gateway({ db: server.url() })
      const through = await place.php({ ini: other.ini(`prefix=PHPSESSID:${more}`) })
      const visitor = await signedIn(through)
      const gate = await Gate.make(through)
      const writer = gate.visit(visitor, { do: 'set', key: 'late' })
      await gate.arrived(1)
      await other.stop('SIGKILL')
      await place.gateway({ db: server.url(), port: other.port })
      await gate.open(1)
      // What the closed connection had read is lost; PHP may reconnect, or give up.
      const { text } = await writer
      const failed = text.includes('Failed to write session data')
      const session = await eventually(() => shown(visitor))
      expect(session).toEqual(failed ? { user: 'ada' } : { user: 'ada', late: expect.anything() })
    })
  })

  test('get an uncaught RedisException if read_timeout is shorter than the gateway needs to give up', async () => {
    const php = await place.php({ ini: gateway.ini('prefix=PHPSESSID:&read_timeout=0.5') })
    const visitor = await signedIn(php)
    server.pause()
    try {
      const { text } = await visitor.visit('overlap.php', { query: { do: 'show' } })
      expect(text).toContain('Uncaught RedisException: read error on connection')
    } finally {
      server.resume()
    }
    expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
  })

  describe('locks', () => {
    const locking = {
      'redis.session.locking_enabled': 1,
      'redis.session.lock_retries': -1,
      'redis.session.lock_wait_time': 20_000,
      max_execution_time: 5,
    }

    describe.each([
      ['a connection for each request', ''],
      ['persistent connections', '&persistent=1'],
    ])('%s', (_, more) => {
      test('end session_start() with a warning in time while the database is unreachable, and work afterwards', async () => {
        const php = await place.php({
          ini: { ...gateway.ini(`prefix=PHPSESSID:${more}`), ...locking },
          workers: 2,
        })
        const visitor = await signedIn(php)
        const fresh = php.visitor()
        const start = async (who: Visitor): Promise<void> => {
          const { text } = await who.visit('overlap.php', { query: { do: 'show' }, timeout: 10_000 })
          expect(text).toContain('Warning: session_start(): Failed to read session data: redis')
          expect(text).toMatch(/no session$/)
          expect(text).not.toContain('Exception')
        }
        await server.stop()
        try {
          await start(visitor)
          await start(fresh)
          await start(visitor)
        } finally {
          await server.start()
        }
        expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
        server.pause()
        try {
          await start(visitor)
        } finally {
          server.resume()
        }
        expect(await eventually(() => shown(visitor))).toEqual({ user: 'ada' })
        await visitor.visit('overlap.php', { query: { do: 'increment' } })
        expect(await shown(visitor.clone())).toEqual({ user: 'ada', count: 1 })
      })
    })

    test('end session_start() with a warning if the gateway refuses the id, or the password is missing', async () => {
      const php = await place.php({ ini: { ...gateway.ini(), ...locking }, workers: 1 })
      for (const id of ['a:b', 'x'.repeat(300)]) {
        const visitor = php.visitor()
        visitor.cookies.set('PHPSESSID', encodeURIComponent(id))
        const { text } = await visitor.visit('overlap.php', { query: { do: 'show' }, timeout: 10_000 })
        expect(text).toMatch(/Failed to read session data: redis.*no session$/s)
      }
      const guarded = await place.gateway({
        db: server.url(),
        env: { SESSION_PGSQL_SERVER_PASSWORD: 'sesame' },
      })
      const without = await place.php({ ini: { ...guarded.ini(), ...locking }, workers: 1 })
      const { text } = await without.request('overlap.php', { query: { do: 'show' }, timeout: 10_000 })
      expect(text).toContain('NOAUTH')
    })

    test('end when the PHP process that holds them is killed', async () => {
      const php = await place.php({ ini: { ...gateway.ini(), ...locking } })
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const holder = gate.visit(visitor, { do: 'set', key: 'late' }).catch((error: Error) => error)
      const [pid] = await gate.arrived(1)
      process.kill(pid as number, 'SIGKILL')
      expect(await holder).toBeInstanceOf(Error)
      expect(await shown(visitor)).toEqual({ user: 'ada' })
    })

    test('hold across gateways, and end when the gateway of their holder is killed', async () => {
      const other = await place.gateway({ db: server.url() })
      const php = await place.php({ ini: { ...other.ini(), ...locking } })
      const impatient = await place.php({
        ini: { ...gateway.ini(), ...locking, 'redis.session.lock_retries': 3 },
      })
      const patient = await place.php({ ini: { ...gateway.ini(), ...locking } })
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const holder = gate.visit(visitor, { do: 'set', key: 'late' })
      await gate.arrived(1)
      await expect(shown(visitor.clone(impatient))).rejects.toThrow(
        /Acquire of session lock was not successful|Failed to acquire session lock/,
      )
      await other.stop('SIGKILL')
      expect(await shown(visitor.clone(patient))).toEqual({ user: 'ada' })
      await gate.open(1)
      expect((await holder).text).toMatch(/Failed to write session data|Connection lost/)
      expect(await shown(visitor.clone(patient))).toEqual({ user: 'ada' })
    })
  })
})
