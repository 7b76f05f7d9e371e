import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeWithCommand, json } from './place.ts'

const ONE = randomBytes(32).toString('base64')
const TWO = randomBytes(32).toString('hex')
const MARKER = 'known-secret-data'

let folder: string
let keysOfOne: string
let keysOfTwo: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'session-pgsql-keys-'))
  keysOfOne = join(folder, 'one')
  keysOfTwo = join(folder, 'two')
  writeFileSync(keysOfOne, `# the only key\none:${ONE}\n`)
  writeFileSync(keysOfTwo, `two:${TWO}\r\none:${ONE}\r\n`)
})
afterAll(() => rmSync(folder, { recursive: true }))

describeWithCommand('session-pgsql encrypt', (setup) => {
  const opened: SaveHandler[] = []
  afterEach(() => Promise.all(opened.splice(0).map((sessions) => sessions.close())))

  function open(db: string, encryption: SaveHandlerOptions['encryption']): SaveHandler {
    const sessions = new SaveHandler({ db, gcInterval: 0, encryption })
    opened.push(sessions)
    return sessions
  }

  describe('encrypts every session, and again with another key', () => {
    test('without changing versions or dates, and a request in progress goes on', async () => {
      const { database, db, run, write } = await setup()
      const ids = Array.from({ length: 130 }, (_, n) => `id-${n}`)
      const plain = open(db, undefined)
      await Promise.all(
        ids.map((id) => plain.write(id, { secret: MARKER }, { errors: { errors: 1, message: MARKER } })),
      )
      await write('emptied', {})
      await database.query("UPDATE php_session SET sess_data = '' WHERE sess_id = 'emptied'")
      const others = 'SELECT sess_id, sess_version, sess_created, sess_modified, sess_expire, sess_counter'
      const unchanged = () => database.query(`${others} FROM php_session ORDER BY sess_id`)
      const before = await unchanged()
      const dump = async () => {
        const [row] = await database.query<{ text: string }>(
          "SELECT string_agg(t::text, '') AS text FROM php_session t",
        )
        return row?.text as string
      }

      const counted = await run(['encrypt', '--dry-run', '--json', '--encryption-keys', keysOfOne])
      expect(counted.code).toBe(0)
      expect(json(counted)).toMatchObject({ dryRun: true, key: 'one', servers: [{ left: 130 }] })
      expect(await dump()).toContain(MARKER)

      const first = open(db, { keys: `one:${ONE}`, acceptPlain: true })
      const record = await first.read('id-7')
      const done = await run(['encrypt', '--encryption-keys', keysOfOne])
      expect(done.stderr).toBe('')
      expect(done.stdout).toMatch(/^.+: 130 sessions encrypted with the key one\.\n$/)
      expect(done.code).toBe(0)
      expect(await dump()).not.toContain(MARKER)
      expect(await unchanged()).toEqual(before)
      const strict = { base: record, conflict: 'error' } as const
      expect((await first.write('id-7', { secret: 'new' }, strict)).outcome).toBe('updated')
      const onlyEncrypted = open(db, { keys: `one:${ONE}` })
      expect(await onlyEncrypted.read('id-8')).toMatchObject({
        data: { secret: MARKER },
        errorMessage: MARKER,
      })

      const rotated = json(await run(['encrypt', '--json', '--encryption-keys', keysOfTwo]))
      expect(rotated.servers).toEqual([
        { server: expect.any(String), encrypted: 130, unreadable: 0, left: 0, ended: 'done', error: null },
      ])
      const onlyTwo = open(db, { keys: `two:${TWO}` })
      expect((await onlyTwo.read('id-7'))?.data).toEqual({ secret: 'new' })
      expect(await onlyTwo.read('id-9')).toMatchObject({ data: { secret: MARKER }, errorMessage: MARKER })
      expect((await onlyTwo.read('emptied'))?.data).toEqual({})
      expect(
        json(await run(['encrypt', '--json', '--encryption-keys', keysOfTwo])).servers[0].encrypted,
      ).toBe(0)
    })

    test('continues after an interruption', async () => {
      const { db, run } = await setup()
      const plain = open(db, undefined)
      await Promise.all(Array.from({ length: 150 }, (_, n) => plain.write(`id-${n}`, { n })))
      const interrupt = new AbortController()
      const argv = ['encrypt', '--encryption-keys', keysOfOne]
      const interrupted = await run(argv, {
        terminal: 80,
        signal: interrupt.signal,
        onError: () => interrupt.abort('SIGINT'),
      })
      expect(interrupted.code).toBe(130)
      const left = json(await run([...argv, '--dry-run', '--json'])).servers[0].left
      expect(left).toBeGreaterThan(0)
      expect(left).toBeLessThan(150)
      expect((await run(argv)).stdout).toContain(`: ${left} sessions encrypted`)
      const sessions = open(db, { keys: `one:${ONE}` })
      expect((await sessions.read('id-149'))?.data).toEqual({ n: 149 })
    })
  })

  test('leaves what no key decrypts, and says so', async () => {
    const { database, db, run } = await setup()
    const lost = open(db, { keys: [{ id: 'lost', key: randomBytes(32) }] })
    await lost.write('lost', { a: 1 })
    await open(db, undefined).write('plain', { a: 1 })
    const { code, stderr, stdout } = await run(['encrypt', '--encryption-keys', keysOfOne])
    expect(code).toBe(1)
    expect(stdout).toContain('1 session encrypted')
    expect(stderr).toContain('none of the keys decrypts 1 session')
    const [row] = await database.query("SELECT sess_data FROM php_session WHERE sess_id = 'lost'")
    expect(row?.sess_data).toMatch(/^e1\.lost\./)
    expect((await lost.read('lost'))?.data).toEqual({ a: 1 })
  })

  test('does not wait for a locked row, and encrypts it in a later run', async () => {
    const { db, run } = await setup()
    const plain = open(db, undefined)
    await Promise.all(['a', 'b', 'c'].map((id) => plain.write(id, { id })))
    const application = new pg.Client(db)
    await application.connect()
    try {
      await application.query("BEGIN; SELECT FROM php_session WHERE sess_id = 'b' FOR UPDATE")
      const first = await run(['encrypt', '--json', '--encryption-keys', keysOfOne])
      expect(first.code).toBe(1)
      expect(json(first).servers[0]).toMatchObject({ encrypted: 2, left: 1, ended: 'done' })
      await application.query('COMMIT')
    } finally {
      await application.end()
    }
    const second = await run(['encrypt', '--json', '--encryption-keys', keysOfOne])
    expect(json(second).servers[0]).toMatchObject({ encrypted: 1, left: 0 })
  })

  test('requires keys, and never shows one', async () => {
    const { run } = await setup()
    expect(await run(['encrypt'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--encryption-keys'),
    })
    const missing = await run(['encrypt', '--encryption-keys', join(folder, 'none')])
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('ENOENT') })
    const broken = join(folder, 'broken')
    for (const text of [ONE, `one:${ONE}x=`, `one:${ONE.slice(4)}`, `[{"id":"one","key":"${TWO}"`, '']) {
      writeFileSync(broken, text)
      const { code, stderr, stdout } = await run(['encrypt', '--encryption-keys', broken])
      expect(code).toBe(2)
      for (const key of [ONE.slice(4, 30), TWO.slice(0, 20)]) expect(stderr + stdout).not.toContain(key)
    }
    for (const command of ['doctor', 'status', 'list']) {
      for (const form of [[], ['--json']]) {
        const { stderr, stdout } = await run([command, ...form, '--encryption-keys', keysOfTwo])
        for (const key of [ONE, TWO, Buffer.from(TWO, 'hex').toString('base64')]) {
          expect(stderr + stdout).not.toContain(key)
        }
      }
    }
  })

  test('show decrypts with the key, and shows everything but the data without it', async () => {
    const { db, run } = await setup()
    const sessions = open(db, { keys: `one:${ONE}` })
    await sessions.write(
      'one',
      { secret: MARKER },
      { custom: 'user', errors: { errors: 1, message: MARKER } },
    )
    const withKey = await run(['show', 'one', '--data', '--encryption-keys', keysOfOne])
    expect(withKey.stdout).toMatch(new RegExp(`last message +${MARKER}`))
    expect(withKey.stdout).toContain(`"secret": "${MARKER}"`)
    const environment = { SESSION_PGSQL_ENCRYPTION_KEYS: `one:${ONE}` }
    expect(json(await run(['show', 'one', '--data', '--json'], { environment })).sessions[0].text).toBe(
      `{"secret":"${MARKER}"}`,
    )
    const without = await run(['show', 'one', '--data'])
    expect(without.code).toBe(0)
    expect(without.stdout).toMatch(/Field +user/)
    expect(without.stdout).toMatch(/last message +cannot be decrypted/)
    expect(without.stdout).toContain('encrypted with the key "one"')
    expect(without.stdout).not.toContain('e1.one')
    const [shown] = json(await run(['show', 'one', '--data', '--json'])).sessions
    expect(shown).toMatchObject({ custom: 'user', errorMessage: null })
    expect(shown.unreadable).toContain('"one"')
    expect((await run(['list', '--json'])).stdout).toContain('"custom": "user"')
  })
})
