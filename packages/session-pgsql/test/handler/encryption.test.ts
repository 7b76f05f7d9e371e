import { createSecretKey, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { Server } from '../../src/servers/server.ts'
import { cipherOf } from '../../src/session/cipher.ts'
import { resolveSettings } from '../../src/settings/settings.ts'
import { type Data, describeHandler, errorOf, type Handler, type Kit } from './kit.ts'

const KEY_ONE = { id: 'one', key: randomBytes(32) }
const KEY_TWO = { id: 'two', key: randomBytes(32).toString('base64') }
const MARKER = 'known-secret-data'

interface RawRow {
  readonly sess_data: string
  readonly sess_err_message: string | null
  readonly sess_version: string
}

async function rawRow(kit: Kit, id: string): Promise<RawRow> {
  const [row] = await kit.query<RawRow>('SELECT * FROM php_session WHERE sess_id = $1', [id])
  return row as RawRow
}

function open(kit: Kit, encryption: SaveHandlerOptions<Data>['encryption']): Handler {
  return kit.open({ encryption })
}

/** Stores the same data and version with the second key, as `session-pgsql encrypt` does. */
async function reencrypt(kit: Kit, id: string): Promise<void> {
  const keys = [
    { id: KEY_TWO.id, key: createSecretKey(Buffer.from(KEY_TWO.key, 'base64')) },
    { id: KEY_ONE.id, key: createSecretKey(KEY_ONE.key) },
  ]
  const cipher = cipherOf({ keys, write: true, acceptPlain: true })
  const { sess_data } = await rawRow(kit, id)
  const sealed = cipher.seal(cipher.open(sess_data, 'sess_data', id), 'sess_data', id)
  await kit.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [id, sealed])
}

describeHandler('encryption', (kit) => {
  const encrypted = (): Handler => open(kit, { keys: [KEY_ONE] })
  /** A process of the first step of a rollout. */
  const preparing = (): Handler => open(kit, { keys: [KEY_ONE], write: false, acceptPlain: true })

  describe('at rest', () => {
    test('data and error messages are stored encrypted and read as they were written', async () => {
      const sessions = encrypted()
      const id = kit.id()
      await sessions.write(id, { secret: MARKER, more: 'ä€😀' }, { errors: { errors: 1, message: MARKER } })
      await sessions.addError(id, 'warning', `${MARKER} again`)

      const [table] = await kit.query<{ text: string }>(
        `SELECT string_agg(t::text, '') AS text FROM php_session t WHERE sess_id = $1`,
        [id],
      )
      expect(table?.text).not.toContain(MARKER)
      const row = await rawRow(kit, id)
      expect(row.sess_data).toMatch(/^e1\.one\.[A-Za-z0-9_-]+$/)
      expect(row.sess_err_message).toMatch(/^e1\.one\./)

      const record = await sessions.read(id)
      expect(record?.data).toEqual({ secret: MARKER, more: 'ä€😀' })
      expect(record?.errorMessage).toBe(`${MARKER} again`)
      expect(await sessions.getErrors(id)).toMatchObject({
        errors: 1,
        warnings: 1,
        message: `${MARKER} again`,
      })
      expect((await sessions.list({ id, text: true }))[0]?.text).toContain(MARKER)
      expect((await sessions.list({ id }))[0]?.errorMessage).toBe(`${MARKER} again`)
    })

    test('two writes of one data are stored differently', async () => {
      const sessions = encrypted()
      const [one, two] = [kit.id(), kit.id()]
      await sessions.write(one, { secret: MARKER })
      await sessions.write(two, { secret: MARKER })
      const first = await rawRow(kit, one)
      await sessions.write(one, { secret: MARKER })
      const stored = [first, await rawRow(kit, one), await rawRow(kit, two)].map(({ sess_data }) => sess_data)
      expect(new Set(stored).size).toBe(3)
    })

    test('the fast path, the slow path, update and a locked row encrypt', async () => {
      const sessions = encrypted()
      const id = kit.id()
      const created = await sessions.write(id, { n: 0 }, { base: null })
      const updated = await sessions.write(id, { n: 1 }, { base: created.session })
      await sessions.write(id, { n: 2 }, { base: updated.session, custom: 'c' })
      await Promise.all(
        Array.from({ length: 20 }, () =>
          sessions.update(id, (data) => {
            data.n++
          }),
        ),
      )
      const { sess_data } = await rawRow(kit, id)
      expect(sess_data).toMatch(/^e1\.one\./)
      expect((await sessions.read(id))?.data).toEqual({ n: 22 })
    })

    test('a session that was emptied stays empty', async () => {
      const sessions = encrypted()
      const id = kit.id()
      await sessions.write(id, { secret: MARKER })
      await kit.query(`UPDATE php_session SET sess_data = '' WHERE sess_id = $1`, [id])
      expect((await sessions.read(id))?.data).toEqual({})
    })
  })

  describe('what was moved or changed in the table is refused', () => {
    test('data copied from another row', async () => {
      const sessions = encrypted()
      const [admin, visitor] = [kit.id(), kit.id()]
      await sessions.write(admin, { role: 'admin' })
      await sessions.write(visitor, { role: 'visitor' })
      await kit.query(
        'UPDATE php_session SET sess_data = (SELECT sess_data FROM php_session WHERE sess_id = $1) WHERE sess_id = $2',
        [admin, visitor],
      )
      const error = await errorOf(sessions.read(visitor))
      expect(error).toMatchObject({ code: 'UNDECODABLE' })
      expect(error.message).toContain('"one"')
      expect((await sessions.read(admin))?.data).toEqual({ role: 'admin' })
    })

    test('an error message copied into the data', async () => {
      const sessions = encrypted()
      const id = kit.id()
      await sessions.write(id, { role: 'visitor' })
      await sessions.addError(id, 'error', '{"role":"admin"}')
      await kit.query('UPDATE php_session SET sess_data = sess_err_message WHERE sess_id = $1', [id])
      expect(await errorOf(sessions.read(id))).toMatchObject({ code: 'UNDECODABLE' })
    })

    test('changed data, and data in plain text', async () => {
      const sessions = encrypted()
      for (const forged of ['e1.one.AAAA', 'e1.one.', `e1.one.${'A'.repeat(100)}`, '{"role":"admin"}']) {
        const id = kit.id()
        await sessions.write(id, { role: 'visitor' })
        await kit.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [id, forged])
        expect(await errorOf(sessions.read(id))).toMatchObject({ code: 'UNDECODABLE' })
      }
    })

    test('only the forged session of a batch', async () => {
      const sessions = encrypted()
      const ids = [kit.id(), kit.id(), kit.id()]
      await Promise.all(ids.map((id) => sessions.write(id, { id })))
      await kit.query(`UPDATE php_session SET sess_data = 'e1.one.AAAA' WHERE sess_id = $1`, [ids[1]])
      const read = await Promise.allSettled(ids.map((id) => sessions.read(id)))
      expect(read.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    })

    test('a merge with data that cannot be decrypted, which stays as it is', async () => {
      const sessions = encrypted()
      const id = kit.id()
      const { session } = await sessions.write(id, { a: 1 })
      await kit.query(
        `UPDATE php_session SET sess_data = 'e1.gone.AAAA', sess_version = sess_version + 1 WHERE sess_id = $1`,
        [id],
      )
      expect(await errorOf(sessions.write(id, { a: 2 }, { base: session }))).toMatchObject({
        code: 'UNDECODABLE',
      })
      expect((await rawRow(kit, id)).sess_data).toBe('e1.gone.AAAA')
      expect(await sessions.destroy(id)).toBe(true)
    })
  })

  describe('without the key', () => {
    test('a read is UNDECODABLE and names the key; the rest of the session can be used', async () => {
      const id = kit.id()
      await encrypted().write(
        id,
        { secret: MARKER },
        { custom: 'user', errors: { errors: 1, message: MARKER } },
      )
      for (const encryption of [undefined, { keys: [KEY_TWO] }, { keys: [KEY_TWO], acceptPlain: true }]) {
        const sessions = open(kit, encryption)
        const error = await errorOf(sessions.read(id))
        expect(error).toMatchObject({ code: 'UNDECODABLE' })
        expect(error.message).toContain('"one"')
        expect(await sessions.info(id)).toMatchObject({ custom: 'user', errors: 1, errorMessage: null })
        expect(await sessions.touch(id)).toBe(true)
        expect(await sessions.setField(id, 'user')).toBe(true)
        const [listed] = await sessions.list({ id, text: true })
        expect(listed).toMatchObject({ custom: 'user', errorMessage: null })
        expect(listed?.text).toBeUndefined()
        expect(listed?.unreadable).toContain('"one"')
        expect(await sessions.count({ id })).toBe(1)
        expect((await errorOf(sessions.update(id, () => {}))).code).toBe('UNDECODABLE')
      }
      expect((await encrypted().read(id))?.data).toEqual({ secret: MARKER })
      expect(await kit.open().destroy(id)).toBe(true)
    })

    test('a codec that decodes anything does not take encrypted data for its own', async () => {
      const id = kit.id()
      await encrypted().write(id, { secret: MARKER })
      const codec = { name: 'raw', encode: (data: Data) => data.raw, decode: (raw: string) => ({ raw }) }
      const sessions = kit.open({ codec })
      expect(await errorOf(sessions.read(id))).toMatchObject({ code: 'UNDECODABLE' })
      // Nor can it write what would look encrypted.
      expect(await errorOf(sessions.write(kit.id(), { raw: 'e1.one.AAAA' }))).toMatchObject({
        code: 'INVALID_DATA',
      })
    })
  })

  describe('plain text', () => {
    test('is read with acceptPlain only, and encrypted by the next write', async () => {
      const id = kit.id()
      await kit.open().write(id, { a: 1 })
      const error = await errorOf(encrypted().read(id))
      expect(error).toMatchObject({ code: 'UNDECODABLE' })
      expect(error.message).toContain('acceptPlain')
      const accepting = open(kit, { keys: [KEY_ONE], acceptPlain: true })
      const base = await accepting.read(id)
      expect(base?.data).toEqual({ a: 1 })
      expect((await accepting.write(id, { a: 2 }, { base })).outcome).toBe('updated')
      expect((await rawRow(kit, id)).sess_data).toMatch(/^e1\.one\./)
    })

    test('is written with write: false, which reads encrypted data', async () => {
      const sessions = preparing()
      const [plain, sealed] = [kit.id(), kit.id()]
      await sessions.write(plain, { a: 1 }, { errors: { errors: 1, message: 'm' } })
      expect(await rawRow(kit, plain)).toMatchObject({ sess_data: '{"a":1}', sess_err_message: 'm' })
      await encrypted().write(sealed, { b: 1 })
      expect((await sessions.read(sealed))?.data).toEqual({ b: 1 })
    })
  })

  test('a key that is not the first decrypts, and the first encrypts', async () => {
    const id = kit.id()
    await open(kit, { keys: [KEY_ONE] }).write(id, { a: 1 })
    const both = open(kit, { keys: [KEY_TWO, KEY_ONE] })
    const base = await both.read(id)
    expect(base?.data).toEqual({ a: 1 })
    await both.write(id, { a: 2 }, { base })
    expect((await rawRow(kit, id)).sess_data).toMatch(/^e1\.two\./)
    expect((await open(kit, { keys: [KEY_TWO] }).read(id))?.data).toEqual({ a: 2 })
  })

  describe('above the table', () => {
    test('two changes of one session are merged', async () => {
      const [one, two] = [encrypted(), encrypted()]
      const id = kit.id()
      const { session } = await one.write(id, { cart: [{ id: 1 }] })
      await one.write(id, { cart: [{ id: 1 }, { id: 2 }] }, { base: session })
      const merged = await two.write(
        id,
        { cart: [{ id: 1 }], seen: true },
        { base: await two.read(id), seen: { cart: [{ id: 1 }] } },
      )
      expect(merged.session?.data).toEqual({ cart: [{ id: 1 }, { id: 2 }], seen: true })
      const stale = await two.write(id, { cart: [{ id: 1 }, { id: 3 }] }, { base: session })
      expect(stale.outcome).toBe('merged')
      expect(stale.session?.data).toEqual({ cart: [{ id: 1 }, { id: 2 }, { id: 3 }], seen: true })
    })

    test('an unchanged session is not written', async () => {
      const sessions = kit.open({ encryption: { keys: [KEY_ONE] }, shortCircuit: true, refreshAfter: 100 })
      const id = kit.id()
      await sessions.write(id, { a: 1 })
      const base = await sessions.read(id)
      expect((await sessions.write(id, { a: 1 }, { base })).outcome).toBe('skipped')
    })

    test('a filter by error message is refused', async () => {
      const sessions = encrypted()
      expect(await errorOf(sessions.list({ errorMessage: 'x' }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
      expect(await errorOf(sessions.count({ errorMessage: 'x' }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    })

    test('a row that only was encrypted again is no conflict', async () => {
      const sessions = kit.open({ encryption: { keys: [KEY_TWO, KEY_ONE] }, conflict: 'error' })
      const id = kit.id()
      await encrypted().write(id, { n: 1 })
      const base = await sessions.read(id)
      await reencrypt(kit, id)
      expect((await sessions.write(id, { n: 2 }, { base })).outcome).toBe('updated')
    })

    test('the table answers that it is updated; a row that was written is a conflict', async () => {
      const settings = resolveSettings({
        db: kit.database().db,
        encryption: { keys: [KEY_TWO, KEY_ONE] },
        operationTimeout: 15,
      })
      const server = new Server(settings.db[0] as (typeof settings.db)[number], settings, {})
      const deadline = performance.now() + 15_000
      const [id, text, next] = [kit.id(), '{"n":1}', '{"n":2}']
      const common = { id, lifetime: 60, access: true, address: null, name: 'sid' }
      try {
        const { sessions } = server
        await sessions.put({ change: { ...common, text, metadata: undefined }, mustBeAbsent: true }, deadline)
        // The fast path, and the slow one, which takes what has metadata.
        for (const metadata of [undefined, { errors: 1 }]) {
          const base = await sessions.read(id, deadline)
          await reencrypt(kit, id)
          const save = { change: { ...common, text, metadata }, base }
          expect((await sessions.save(save, deadline)).outcome).toBe('updated')
        }
        const base = await sessions.read(id, deadline)
        await sessions.save({ change: { ...common, text: next, metadata: undefined }, base }, deadline)
        await reencrypt(kit, id)
        const stale = await sessions.save(
          { change: { ...common, text, metadata: undefined }, base },
          deadline,
        )
        expect(stale).toMatchObject({ outcome: 'conflict', stored: { text: next } })
      } finally {
        await server.close()
      }
    })
  })

  test('no output has a key', async () => {
    const options = { encryption: { keys: [KEY_ONE, KEY_TWO] }, logger: false as const }
    const sessions = kit.open(options)
    const id = kit.id()
    await sessions.write(id, { secret: MARKER })
    await kit.query(`UPDATE php_session SET sess_data = 'e1.one.AAAA' WHERE sess_id = $1`, [id])
    const error = await errorOf(sessions.read(id))
    expect(sessions.status().settings.encryption).toEqual({
      keys: ['one', 'two'],
      write: true,
      acceptPlain: false,
    })
    const everything = [sessions, sessions.status(), error, await sessions.statistics()]
      .map((value) => inspect(value, { depth: 20, showHidden: true }))
      .join()
    for (const form of ['base64', 'base64url', 'hex', 'latin1'] as const) {
      expect(everything).not.toContain(KEY_ONE.key.toString(form))
      expect(everything).not.toContain(Buffer.from(KEY_TWO.key, 'base64').toString(form))
    }
    expect(JSON.stringify(sessions.status())).not.toContain(KEY_TWO.key)
  })
})
