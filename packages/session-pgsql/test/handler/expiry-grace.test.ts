import { expect, test } from 'vitest'
import { describeHandler, expireAgo, id as newId } from './kit.ts'

describeHandler('The option expiryGrace', (kit) => {
  test('lets a request save a session for that long after it expired, but no request read it', async () => {
    const sessions = kit.open({ expiryGrace: 100 })
    for (const [ago, outcome] of [
      [50, 'updated'],
      [150, 'gone'],
    ] as const) {
      const id = newId()
      const base = (await sessions.write(id, { a: 1 })).session
      await expireAgo(kit, id, ago)
      expect(await sessions.read(id)).toBeUndefined()
      expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe(outcome)
      expect((await sessions.read(id))?.data).toEqual(outcome === 'updated' ? { a: 2 } : undefined)
    }
  })

  test('is 60 seconds by default, for writes, touches and writes under the row lock', async () => {
    const sessions = kit.open()
    for (const [ago, isSaved] of [
      [50, true],
      [70, false],
    ] as const) {
      const id = newId()
      const base = (await sessions.write(id, { a: 1 })).session
      await expireAgo(kit, id, ago)
      expect(await sessions.touch(id, { base })).toBe(isSaved)
      const other = newId()
      const read = (await sessions.write(other, { a: 1 })).session
      await expireAgo(kit, other, ago)
      await kit.query("UPDATE php_session SET sess_data = '{}' WHERE sess_id = $1", [other])
      expect((await sessions.write(other, { a: 2 }, { base: read })).outcome).toBe(
        isSaved ? 'merged' : 'gone',
      )
    }
  })

  test('0 ends a session at its expiry', async () => {
    const sessions = kit.open({ expiryGrace: 0 })
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    await expireAgo(kit, id, 1)
    expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('gone')
    expect(await sessions.touch(id, { base })).toBe(false)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    expect(await sessions.gc()).toBeGreaterThan(0)
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })

  test('keeps garbage collection from the row for as long', async () => {
    const sessions = kit.open({ expiryGrace: 1000 })
    const id = newId()
    await sessions.write(id, { a: 1 })
    await expireAgo(kit, id, 900)
    await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
    await sessions.gc()
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toHaveLength(1)
  })

  test('does not save a session from destroyByField', async () => {
    const sessions = kit.open()
    const user = newId()
    const [expired, live] = [newId(), newId()]
    const base = (await sessions.write(expired, { a: 1 }, { custom: user })).session
    await sessions.write(live, {}, { custom: user })
    await expireAgo(kit, expired, 30)
    expect(await sessions.destroyByField(user)).toBe(1)
    expect((await sessions.write(expired, { a: 2 }, { base })).outcome).toBe('gone')
    expect(await sessions.read(expired)).toBeUndefined()
  })
})
