import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Codec } from '../../src/index.ts'
import { calls, type Data, describeHandler, expireAgo, type Handler, id as newId } from './kit.ts'

const left = async (sessions: Handler, id: string) =>
  ((await sessions.info(id))?.expires?.getTime() ?? 0) / 1000 - Date.now() / 1000

describeHandler('Short circuit', (kit) => {
  test('skips a write of unchanged data', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const id = newId()
    const base = (await sessions.write(id, { a: 1 }, { lifetime: 1000 })).session
    // A tenth is added, so that no session expires earlier.
    expect(await left(sessions, id)).toBeGreaterThan(1095)
    expect(await left(sessions, id)).toBeLessThan(1103)
    const before = calls(sessions)
    const skipped = await sessions.write(id, { a: 1 }, { base, lifetime: 1000 })
    expect(skipped.outcome).toBe('skipped')
    expect(skipped.session?.data).toEqual({ a: 1 })
    expect(await sessions.touch(id, { base, lifetime: 1000 })).toBe(true)
    expect(calls(sessions)).toBe(before)
    // The record of a skipped write can be a base.
    expect((await sessions.write(id, { a: 2 }, { base: skipped.session })).outcome).toBe('updated')
  })

  test('skips a write of unchanged data if the codec never encodes it to the same text twice', async () => {
    const key = randomBytes(32)
    const encrypting: Codec<Data> = {
      name: 'encrypting',
      encode(data) {
        const iv = randomBytes(12)
        const cipher = createCipheriv('aes-256-gcm', key, iv)
        const text = Buffer.concat([cipher.update(JSON.stringify(data)), cipher.final()])
        return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64')
      },
      decode(stored) {
        if (stored === '') return {}
        const bytes = Buffer.from(stored, 'base64')
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12))
        decipher.setAuthTag(bytes.subarray(12, 28))
        return JSON.parse(Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString())
      },
    }
    const sessions = kit.open({ shortCircuit: true, codec: encrypting })
    const id = newId()
    await sessions.write(id, { user: 'ada', cart: ['apple'] })
    for (let round = 0; round < 2; round++) {
      const base = await sessions.read(id)
      const before = calls(sessions)
      const data = { cart: ['apple'], user: 'ada' }
      expect((await sessions.write(id, data, { base })).outcome).toBe('skipped')
      expect(
        (await sessions.write(id, { ...data, cart: [] }, { base, seen: { ...data, cart: [] } })).outcome,
      ).toBe('skipped')
      expect(calls(sessions)).toBe(before)
    }
    const base = await sessions.read(id)
    expect((await sessions.write(id, { user: 'ada', cart: ['pear'] }, { base })).outcome).toBe('updated')
    expect((await sessions.read(id))?.data).toEqual({ user: 'ada', cart: ['pear'] })
  })

  test('encodes the data once if the codec always encodes it to the same text', async () => {
    let encoded = 0
    const counting: Codec<Data> = {
      name: 'counting',
      encode(data) {
        encoded++
        return JSON.stringify(data)
      },
      decode: (text) => JSON.parse(text || '{}'),
    }
    const sessions = kit.open({ shortCircuit: true, codec: counting })
    const id = newId()
    let base = (await sessions.write(id, { a: 0 })).session
    base = (await sessions.write(id, { a: 1 }, { base })).session
    encoded = 0
    expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('updated')
    expect(encoded).toBe(1)
  })

  test('moves the expiry after a tenth of the lifetime, and counts that access', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const id = newId()
    await sessions.write(id, { a: 1 }, { lifetime: 1000 })
    for (const refresh of [
      async () => sessions.write(id, { a: 1 }, { base: await sessions.read(id), lifetime: 1000 }),
      async () => sessions.touch(id, { base: await sessions.read(id), lifetime: 1000 }),
    ]) {
      await kit.query('UPDATE php_session SET sess_expire = sess_expire - 50 WHERE sess_id = $1', [id])
      await refresh()
      expect(await left(sessions, id)).toBeLessThan(1055)
      const { accesses = 0 } = (await sessions.info(id)) ?? {}
      await kit.query('UPDATE php_session SET sess_expire = sess_expire - 60 WHERE sess_id = $1', [id])
      await refresh()
      expect(await left(sessions, id)).toBeGreaterThan(1095)
      expect((await sessions.info(id))?.accesses).toBe(accesses + 1)
    }
  })

  test('moves the expiry after refreshAfter', async () => {
    const sessions = kit.open({ shortCircuit: true, refreshAfter: 300 })
    const id = newId()
    await sessions.write(id, {}, { lifetime: 1000 })
    expect(await left(sessions, id)).toBeGreaterThan(1295)
    await kit.query('UPDATE php_session SET sess_expire = sess_expire - 250 WHERE sess_id = $1', [id])
    expect((await sessions.write(id, {}, { base: await sessions.read(id), lifetime: 1000 })).outcome).toBe(
      'skipped',
    )
    await kit.query('UPDATE php_session SET sess_expire = sess_expire - 100 WHERE sess_id = $1', [id])
    expect((await sessions.write(id, {}, { base: await sessions.read(id), lifetime: 1000 })).outcome).toBe(
      'updated',
    )
    expect(await left(sessions, id)).toBeGreaterThan(1295)
  })

  test('does not move the expiry if refreshAfter is Infinity, as in session_pgsql', async () => {
    const sessions = kit.open({ shortCircuit: true, refreshAfter: Number.POSITIVE_INFINITY })
    const id = newId()
    await sessions.write(id, {}, { lifetime: 1000 })
    expect(await left(sessions, id)).toBeLessThan(1003)
    await kit.query('UPDATE php_session SET sess_expire = sess_expire - 900 WHERE sess_id = $1', [id])
    const base = await sessions.read(id)
    expect((await sessions.write(id, {}, { base, lifetime: 1000 })).outcome).toBe('skipped')
    expect(await left(sessions, id)).toBeLessThan(103)
    expect((await sessions.write(id, {}, { base, lifetime: 1000, custom: 'x' })).outcome).toBe('updated')
    expect(await left(sessions, id)).toBeGreaterThan(995)
  })

  test('treats a shorter lifetime as a change', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const id = newId()
    const base = (await sessions.write(id, {}, { lifetime: 10_000 })).session
    expect((await sessions.write(id, {}, { base, lifetime: 100 })).outcome).toBe('updated')
    expect(await left(sessions, id)).toBeLessThan(113)
  })

  test('writes the custom field and errors although the data is unchanged', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    expect((await sessions.write(id, { a: 1 }, { base, custom: 'c' })).session).toMatchObject({
      custom: 'c',
      data: { a: 1 },
    })
    expect((await sessions.write(id, { a: 1 }, { base, errors: { errors: 1, message: 'm' } })).outcome).toBe(
      'updated',
    )
    expect(await sessions.touch(id, { base, errors: { notices: 1 } })).toBe(true)
    expect(await sessions.info(id)).toMatchObject({ custom: 'c', errors: 1, notices: 1, errorMessage: 'm' })
  })

  test('compares with seen, not with the keys that another client added', async () => {
    const [ours, theirs] = [kit.open({ shortCircuit: true }), kit.open()]
    const id = newId()
    const base = (await ours.write(id, {})).session
    await theirs.write(id, { theirs: 1 }, { base })
    const merged = await ours.write(id, { ours: 1 }, { base })
    expect((await ours.write(id, { ours: 1 }, { base: merged.session, seen: { ours: 1 } })).outcome).toBe(
      'skipped',
    )
    // Without seen, the missing key is a deletion, which is a change.
    expect((await ours.write(id, { ours: 1 }, { base: merged.session })).outcome).toBe('updated')
    expect((await theirs.read(id))?.data).toEqual({ ours: 1 })
  })

  test('returns gone if it has to send a statement', async () => {
    const sessions = kit.open({ shortCircuit: true })
    const id = newId()
    const base = (await sessions.write(id, {})).session
    await sessions.destroy(id)
    expect((await sessions.write(id, {}, { base })).outcome).toBe('skipped')
    expect((await sessions.write(id, {}, { base, custom: 'x' })).outcome).toBe('gone')
    expect(await sessions.touch(id, { base, custom: 'x' })).toBe(false)
    expect(await sessions.read(id)).toBeUndefined()
  })
})

describeHandler('A touch', (kit) => {
  test('shortens a lifetime only if the data still equals its base', async () => {
    const sessions = kit.open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 }, { lifetime: 1000 })).session
    await sessions.touch(id, { lifetime: 100 })
    expect(await left(sessions, id)).toBeGreaterThan(995)
    await sessions.touch(id, { lifetime: 2000 })
    expect(await left(sessions, id)).toBeGreaterThan(1995)
    await sessions.touch(id, { lifetime: 100, base })
    expect(await left(sessions, id)).toBeLessThan(103)
    await sessions.write(id, { remember: true }, { lifetime: 5000 })
    // Another request logged in with "remember me".
    expect(await sessions.touch(id, { lifetime: 100, base })).toBe(true)
    expect(await left(sessions, id)).toBeGreaterThan(4990)
    expect((await sessions.read(id))?.data).toEqual({ remember: true })
  })

  test('does not change the date of modification', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { a: 1 })
    await kit.query('UPDATE php_session SET sess_modified = 1000 WHERE sess_id = $1', [id])
    await sessions.touch(id, { custom: 'x' })
    expect((await sessions.info(id))?.modified).toEqual(new Date(1_000_000))
  })
})

describeHandler('keepExpired', (kit) => {
  test('keeps the row and removes the data, and only a write without a base creates it again', async () => {
    const sessions = kit.open({ keepExpired: true })
    const id = newId()
    const base = (
      await sessions.write(id, { secret: 1 }, { custom: 'user', address: '10.0.0.1', errors: { errors: 3 } })
    ).session
    await sessions.touch(id)
    await expireAgo(kit, id, 70)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    expect(await sessions.gc()).toBe(1)
    expect(await sessions.gc()).toBe(0)
    const [row] = await kit.query(
      'SELECT sess_data, sess_custom, sess_counter::int, sess_sweep FROM php_session WHERE sess_id = $1',
      [id],
    )
    expect(row).toEqual({ sess_data: '', sess_custom: 'user', sess_counter: 2, sess_sweep: null })

    expect(await sessions.read(id)).toBeUndefined()
    expect(await sessions.info(id)).toBeUndefined()
    expect(await sessions.touch(id)).toBe(false)
    expect(await sessions.touch(id, { base })).toBe(false)
    expect((await sessions.write(id, { a: 1 }, { base })).outcome).toBe('gone')
    expect((await sessions.write(id, { a: 1 }, { base: 'existing' })).outcome).toBe('gone')
    expect(await sessions.read(id)).toBeUndefined()

    const revived = await sessions.write(id, { fresh: 1 }, { address: '10.0.0.2', name: 'other' })
    expect(revived.outcome).toBe('created')
    expect(revived.session).toMatchObject({
      data: { fresh: 1 },
      name: 'other',
      accesses: 3,
      errors: 3,
      custom: 'user',
      addressCreated: '10.0.0.1',
      addressModified: '10.0.0.2',
      created: base?.created,
    })
    expect((await sessions.write(id, { secret: 2 }, { base })).outcome).toBe('gone')
    expect((await sessions.read(id))?.data).toEqual({ fresh: 1 })
    expect(await sessions.destroy(id)).toBe(true)
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })

  test('deletes the row after keepExpiredFor', async () => {
    const id = newId()
    const sessions = kit.open({ keepExpired: true, keepExpiredFor: 7200 })
    await sessions.write(id, { a: 1 })
    await expireAgo(kit, id, 7000)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    expect(await sessions.gc()).toBe(1)
    const [row] = await kit.query(
      'SELECT sess_data, sess_sweep - sess_expire >= 7200 AS later FROM php_session WHERE sess_id = $1',
      [id],
    )
    expect(row).toEqual({ sess_data: '', later: true })
    await expireAgo(kit, id, 7300)
    expect(await sessions.gc()).toBe(0)
    await kit.query('UPDATE php_session SET sess_sweep = 1 WHERE sess_id = $1', [id])
    expect(await sessions.gc()).toBe(1)
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })

  test('does not prevent destroy from deleting an expired session', async () => {
    const sessions = kit.open({ keepExpired: true })
    const id = newId()
    await sessions.write(id, { a: 1 })
    await expireAgo(kit, id, 1000)
    expect(await sessions.destroy(id)).toBe(false)
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })
})
