import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { describe, expect, test, vi } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { hasOpenssl, makeCertificates } from '../../../session-pgsql/test/support/tls-server.ts'
import { eventually, within } from '../../../session-pgsql/test/support/wait.ts'
import { GatewayLog } from '../../src/gateway/log.ts'
import { PasswordThrottle } from '../../src/gateway/password-throttle.ts'
import { MAX_PENDING } from '../../src/gateway/pending-connections.ts'
import { DATA, gateways } from './kit.ts'
import type { Talk } from './talk.ts'

describeOnEveryKind(
  'unauthenticated clients',
  (server) => {
    const { start, key, after } = gateways(server)

    /** Opens connections that send nothing. */
    async function silent(port: number, count: number): Promise<Socket[]> {
      const sockets: Socket[] = []
      for (let n = 0; n < count; n++) {
        const socket = connect({ host: '127.0.0.1', port })
        socket.on('error', () => {}).resume()
        sockets.push(socket)
        await once(socket, 'connect')
      }
      after(async () => {
        for (const socket of sockets) socket.destroy()
      })
      return sockets
    }

    test.each([
      ['with a password', 'sesame'],
      ['without one', undefined],
    ])('take no place of a client by saying nothing, %s', async (_, password) => {
      const lines: string[] = []
      const { talk, port } = await start({ password, maxConnections: 5, log: (line) => lines.push(line) })
      const login = async (client: Talk): Promise<Talk> => {
        if (password !== undefined) expect(await client.ask('AUTH', password)).toBe('+OK\r\n')
        expect(await client.ask('PING')).toBe('+PONG\r\n')
        return client
      }
      const before = await login(talk())
      const sockets = await silent(port, 5 * MAX_PENDING)
      for (let n = 0; n < 3; n++) await login(talk())
      expect(await before.ask('PING')).toBe('+PONG\r\n')
      await eventually(() =>
        expect(sockets.filter(({ closed }) => closed).length).toBeGreaterThanOrEqual(4 * MAX_PENDING),
      )
      expect(lines[0]).toMatch(/closed a connection from 127\.0\.0\.1 that sent nothing/)
      expect(lines.length).toBeLessThan(3)
    })

    test('take no place of a client by a TLS handshake that they do not complete', async (ctx) => {
      ctx.skip(!hasOpenssl, 'no OpenSSL to create certificates')
      const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-gateway-'))
      after(async () => rmSync(folder, { recursive: true, force: true }))
      makeCertificates(folder, 'DNS:localhost')
      const [cert, tlsKey] = ['server.crt', 'server.key'].map((name) =>
        readFileSync(join(folder, name), 'utf8'),
      )
      const { port } = await start({
        password: 'sesame',
        maxConnections: 5,
        tls: { cert: cert as string, key: tlsKey as string },
      })
      await silent(port, 300)
      for (let n = 0; n < 3; n++) {
        const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
        after(async () => socket.destroy())
        await within(once(socket, 'secureConnect'), 10_000, 'the handshake')
        socket.write('*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n*1\r\n$4\r\nPING\r\n')
        let text = ''
        socket.on('data', (chunk) => {
          text += chunk
        })
        await eventually(() => expect(text).toBe('+OK\r\n+PONG\r\n'))
      }
    })

    test('cannot guess the password: after 20 different ones, none is checked, and the log says so', async () => {
      const lines: string[] = []
      const { talk } = await start({ password: 'sesame', log: (line) => lines.push(line) })
      const one = key()
      const client = talk()
      await client.ask('AUTH', 'sesame')
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      const answers: string[] = []
      for (let n = 0; n < 100; n++) {
        const guesser = talk()
        answers.push(await guesser.ask('AUTH', `guess ${n}`))
        guesser.end()
      }
      const checked = answers.filter((answer) => answer.startsWith('-WRONGPASS'))
      expect(checked.length).toBeGreaterThanOrEqual(20)
      expect(checked.length).toBeLessThan(60)
      expect(answers.at(-1)).toMatch(/^-(ERR too many wrong passwords|WRONGPASS)/)
      expect(await client.ask('GET', one)).toContain(DATA)
      expect(lines.filter((line) => line === 'wrong password from 127.0.0.1')).toHaveLength(1)
      expect(lines.some((line) => line.startsWith('too many different wrong passwords from 127.0.0.1'))).toBe(
        true,
      )
      expect(lines.join()).not.toMatch(/guess|sesame/)
    })
  },
  ['postgres'],
)

describeOnEveryKind(
  'the health endpoint',
  (server) => {
    const { start } = gateways(server)

    /** Requests a path at an address of this machine. @returns the status, or the code of the error */
    async function ask(
      port: number | undefined,
      headers: Record<string, string>,
      host = '127.0.0.1',
      path = '/health',
    ) {
      const asking = request({ host, port, path, headers }).end()
      try {
        const [response] = await once(asking, 'response')
        response.resume()
        return response.statusCode as number
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
    }

    test('listens on loopback alone, wherever clients connect', async () => {
      const { healthPort } = await start({ host: '0.0.0.0', password: 'sesame', healthPort: 0 })
      expect(await ask(healthPort, {})).toBe(200)
      expect(await ask(healthPort, {}, '127.0.0.2')).toBe('ECONNREFUSED')
      const other = await start({ healthPort: 0, healthHost: '0.0.0.0' })
      expect(await ask(other.healthPort, {}, '127.0.0.2')).toBe(200)
    })

    test('refuses the names of other hosts', async () => {
      const { healthPort } = await start({ healthPort: 0, healthNames: ['gateway.internal'] })
      for (const host of ['evil.example', 'evil.example:80', 'localhost.evil.example', 'a@localhost']) {
        expect(await ask(healthPort, { host })).not.toBe(200)
        expect(await ask(healthPort, { host }, '127.0.0.1', '/metrics')).toBe(421)
      }
      for (const host of ['localhost', '127.0.0.1:6381', '[::1]:6381', 'gateway.internal:6381', '10.0.0.1']) {
        expect(await ask(healthPort, { host })).toBe(200)
      }
    })
  },
  ['postgres'],
)

describe('PasswordThrottle', () => {
  const bytes = (text: string) => Buffer.from(text)

  test('counts different passwords of a network, and one more in each second', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const throttle = new PasswordThrottle('sesame')
      const guess = (text: string, address = '192.0.2.1') => throttle.check(bytes(text), address)
      for (let n = 0; n < 20; n++) expect(guess(`guess ${n}`)).toBe('wrong')
      expect(guess('guess 20')).toBe('throttled')
      expect(guess('sesame')).toBe('throttled')
      expect(guess('sesame', '192.0.2.2')).toBe('right')
      vi.advanceTimersByTime(2000)
      expect([guess('guess 21'), guess('guess 22'), guess('guess 23')]).toEqual([
        'wrong',
        'wrong',
        'throttled',
      ])
      vi.advanceTimersByTime(1000)
      expect(guess('sesame')).toBe('right')
      // An IPv6 client has all addresses of its network.
      for (let n = 0; n < 20; n++) expect(guess(`guess ${n}`, `2001:db8::${n}`)).toBe('wrong')
      expect(guess('guess 20', '2001:db8::ffff')).toBe('throttled')
    } finally {
      vi.useRealTimers()
    }
  })

  test('does not take one wrong password for guesses, however often it comes', () => {
    const throttle = new PasswordThrottle('sesame')
    for (let n = 0; n < 1000; n++) expect(throttle.check(bytes('old password'), '192.0.2.1')).toBe('wrong')
    expect(throttle.check(bytes('sesame'), '192.0.2.1')).toBe('right')
  })
})

describe('GatewayLog', () => {
  test('writes one line of a kind in ten seconds, and says how many were left out', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const lines: string[] = []
      const log = new GatewayLog((line) => lines.push(line))
      for (let n = 0; n < 5; n++) log.warn('one', `one ${n}`)
      log.warn('two', 'two')
      vi.advanceTimersByTime(10_000)
      log.warn('one', 'one again')
      log.warn('two', 'two again')
      expect(lines).toEqual(['one 0', 'two', 'one again (and 4 more like it)', 'two again'])
    } finally {
      vi.useRealTimers()
    }
  })
})
