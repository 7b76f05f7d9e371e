import { once } from 'node:events'
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import {
  type Certificates,
  hasOpenssl,
  makeCertificates,
} from '../../../session-pgsql/test/support/tls-server.ts'
import { within } from '../../../session-pgsql/test/support/wait.ts'
import { Talk } from '../gateway/talk.ts'
import { shown, signedIn } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import type { Ini } from './kit/php.ts'
import { describeWithPhp, type Place } from './kit/place.ts'

function at(path: string): Ini {
  return { 'session.save_handler': 'redis', 'session.save_path': path }
}

/** Returns a session that PHP has written and read again, or PHP's warning. */
async function session(place: Place, ini: Ini): Promise<unknown> {
  const php = await place.php({ ini, workers: 1 })
  const visitor = await signedIn(php)
  return shown(visitor).catch((error: Error) => error.message)
}

describeWithPhp('connections from phpredis to the gateway', (place) => {
  let db: string
  let folder: string
  beforeAll(async () => {
    db = await place.database()
    folder = await mkdtemp(join(tmpdir(), 'session-pgsql-gateway-'))
    place.after(() => rm(folder, { recursive: true, force: true }))
    // PHP may run as another user than the tests.
    await chmod(folder, 0o755)
  })

  test('require the password, alone or with a user name', async () => {
    const file = join(folder, 'password')
    await writeFile(file, 'open sesame\n', { mode: 0o600 })
    const { port } = await place.gateway({ db, argv: ['--host', '0.0.0.0', '--password-file', file] })
    const path = `tcp://127.0.0.1:${port}?prefix=PHPSESSID:`
    expect(await session(place, at(`${path}&auth=open%20sesame`))).toEqual({ user: 'ada' })
    expect(await session(place, at(`${path}&auth[user]=php&auth[pass]=open%20sesame`))).toEqual({
      user: 'ada',
    })
    expect(await session(place, at(`${path}&persistent=1&auth=open%20sesame`))).toEqual({ user: 'ada' })
    expect(await session(place, at(path))).toMatch(/NOAUTH/)
    expect(await session(place, at(`${path}&auth=wrong`))).toMatch(/WRONGPASS|Failed to read/)
  })

  test('accept the password from the environment, and do not show it', async () => {
    const gateway = await place.gateway({
      db,
      env: { SESSION_PGSQL_SERVER_PASSWORD: 'from-the-environment' },
    })
    const ini = gateway.ini('prefix=PHPSESSID:&auth=from-the-environment')
    expect(await session(place, ini)).toEqual({ user: 'ada' })
    expect(await session(place, gateway.ini())).toMatch(/NOAUTH/)
    const talk = new Talk(gateway.port)
    await talk.ask('AUTH', 'from-the-environment')
    expect(await talk.ask('SESSION.STATUS')).not.toContain('from-the-environment')
    talk.end()
    expect(gateway.output()).not.toContain('from-the-environment')
  })

  test.each(['php_serialize', 'php_binary'])(
    'work with session.serialize_handler = %s, if --codec is the same',
    async (format) => {
      const gateway = await place.gateway({ db, argv: ['--codec', format] })
      const ini = { ...gateway.ini(), 'session.serialize_handler': format }
      expect(await session(place, ini)).toEqual({ user: 'ada' })
      // A format other than the gateway's is refused.
      const other = await place.php({ ini: gateway.ini(), workers: 1 })
      const { text } = await other
        .visitor()
        .visit('overlap.php', { query: { do: 'set', key: 'user', value: 'ada' } })
      expect(text).toContain('Failed to write session data')
    },
  )

  test('work over a socket of the file system, whose permissions say who may connect', async () => {
    const path = join(folder, 'gateway.sock')
    const gateway = await place.gateway({ db, socket: path, argv: ['--socket-mode', '600'] })
    expect(gateway.output()).toContain(`listening on unix:${path}`)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    for (const more of ['', '&persistent=1']) {
      const ini = at(`unix://${path}?prefix=PHPSESSID:${more}`)
      expect(await session(place, ini)).toEqual({ user: 'ada' })
      const prepended = join(import.meta.dirname, '../../php/session_pgsql.php')
      expect(await session(place, { ...ini, auto_prepend_file: prepended })).toEqual({ user: 'ada' })
    }
    await gateway.stop()
    await expect(stat(path)).rejects.toThrow('ENOENT')
  })

  test('end without an error after SIGTERM', async () => {
    const gateway = await place.gateway({ db })
    const php = await place.php({ ini: gateway.ini('prefix=PHPSESSID:&persistent=1'), workers: 1 })
    await signedIn(php)
    await gateway.stop()
    expect(gateway.output()).toContain('stopping')
    expect(gateway.output()).not.toContain('rror')
  })
})

describeWithPhp('TLS from phpredis to the gateway', (place) => {
  let files: Certificates
  let gateway: Gateway
  beforeAll(async () => {
    if (!hasOpenssl) return
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-gateway-'))
    place.after(() => rm(folder, { recursive: true, force: true }))
    await chmod(folder, 0o755)
    files = makeCertificates(folder, 'DNS:localhost')
    gateway = await place.gateway({
      db: await place.database(),
      argv: ['--tls-cert', join(folder, 'server.crt'), '--tls-key', join(folder, 'server.key')],
    })
  })

  // phpredis 5 cannot take it from the save path.
  const ini = (cafile: string, more = ''): Ini => ({
    ...at(`tls://localhost:${gateway.port}?prefix=PHPSESSID:${more}`),
    'openssl.cafile': cafile,
  })
  const skip = hasOpenssl ? undefined : 'no OpenSSL to create certificates'

  test('works with a certificate that PHP trusts', async (ctx) => {
    ctx.skip(skip !== undefined, skip)
    expect(await session(place, ini(files.ca))).toEqual({ user: 'ada' })
    expect(await session(place, ini(files.ca, '&persistent=1'))).toEqual({ user: 'ada' })
    const prepended = join(import.meta.dirname, '../../php/session_pgsql.php')
    expect(await session(place, { ...ini(files.ca), auto_prepend_file: prepended })).toEqual({ user: 'ada' })
  })

  test('gives no session with an untrusted certificate or without TLS, and the gateway keeps serving', async (ctx) => {
    ctx.skip(skip !== undefined, skip)
    expect(await session(place, ini(files.otherCa))).toMatch(/certificate verify failed/)
    expect(await session(place, gateway.ini())).toMatch(/read error|Failed to read session data/)
    expect(await session(place, ini(files.ca))).toEqual({ user: 'ada' })
  })

  test('closes a connection that does not complete the handshake', async (ctx) => {
    ctx.skip(skip !== undefined, skip)
    const socket = connect(gateway.port, '127.0.0.1', () => socket.write('*'))
    await within(once(socket, 'close'), 30_000, 'the gateway to end the connection')
  })
})
