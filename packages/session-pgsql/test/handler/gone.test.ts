import { expect, test, vi } from 'vitest'
import { describeHandler, expireAgo, id as newId } from './kit.ts'

describeHandler('A session that is gone', (kit) => {
  test('is not written again by a request that read it before', async () => {
    const sessions = kit.open()
    const gone = vi.fn()
    sessions.on('gone', gone)
    const id = newId()
    const base = (await sessions.write(id, { user: 1 })).session
    await sessions.destroy(id)
    expect(await sessions.write(id, { user: 1, a: 1 }, { base })).toMatchObject({
      outcome: 'gone',
      session: undefined,
    })
    expect(await sessions.write(id, { user: 1, a: 1 }, { base: 'existing' })).toMatchObject({
      outcome: 'gone',
    })
    expect(await sessions.touch(id, { base })).toBe(false)
    expect(gone.mock.calls.slice(0, 2)).toEqual([[{ id }], [{ id }]])
    expect(await sessions.read(id)).toBeUndefined()
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })

  test('does not fail the write, even if a listener throws', async () => {
    const sessions = kit.open()
    const failed = vi.fn()
    sessions.on('gone', () => {
      throw new Error('in the listener')
    })
    sessions.on('error', failed)
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    await sessions.destroy(id)
    expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('gone')
    expect(failed).toHaveBeenCalledOnce()
  })

  test('stays gone if its id is used again within the same second', async () => {
    const sessions = kit.open()
    const id = newId()
    const base = (await sessions.write(id, { user: 'old' })).session
    await sessions.destroy(id)
    const again = (await sessions.write(id, { user: 'new' })).session
    expect((await sessions.write(id, { user: 'old', ours: 1 }, { base })).outcome).toBe('gone')
    expect(await sessions.touch(id, { base, lifetime: 1 })).toBe(false)
    expect((await sessions.read(id))?.data).toEqual({ user: 'new' })
    expect((await sessions.write(id, { user: 'new', b: 1 }, { base: again })).outcome).toBe('updated')
    // Also in one queue, where the base of the next request is known without a statement.
    const all = await Promise.all([
      sessions.destroy(id),
      sessions.write(id, { user: 'third' }),
      sessions.write(id, { user: 'new', c: 1 }, { base: again }),
    ])
    expect(all[2].outcome).toBe('gone')
    expect((await sessions.read(id))?.data).toEqual({ user: 'third' })
  })

  test('because it expired can still be written for a minute by a request that read it before', async () => {
    const sessions = kit.open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    await expireAgo(kit, id, 30)
    expect(await sessions.read(id)).toBeUndefined()
    expect((await sessions.write(id, { a: 3 }, { base: 'existing' })).outcome).toBe('gone')
    expect(await sessions.touch(id)).toBe(false)
    const written = await sessions.write(id, { a: 2 }, { base })
    expect(written.outcome).toBe('updated')
    expect((await sessions.read(id))?.data).toEqual({ a: 2 })
    await expireAgo(kit, id, 30)
    expect(await sessions.touch(id, { base: written.session })).toBe(true)
    expect((await sessions.read(id))?.data).toEqual({ a: 2 })

    await expireAgo(kit, id, 62)
    expect(await sessions.touch(id, { base: written.session })).toBe(false)
    expect((await sessions.write(id, { a: 3 }, { base: written.session })).outcome).toBe('gone')
    expect(await sessions.read(id)).toBeUndefined()
  })

  test('because it expired can be created again, with new counters', async () => {
    const sessions = kit.open()
    const id = newId()
    for (const base of [undefined, null]) {
      const old = (
        await sessions.write(
          id,
          { user: 'old' },
          { custom: 'old', errors: { errors: 1, message: 'm' }, address: '10.0.0.1', name: 'old' },
        )
      ).session
      await sessions.touch(id)
      await expireAgo(kit, id, 5)
      expect(await sessions.destroy(newId())).toBe(false)
      const written = await sessions.write(id, { user: 'new' }, { base, name: 'new' })
      expect(written.outcome).toBe('created')
      expect(written.session).toMatchObject({
        data: { user: 'new' },
        accesses: 1,
        errors: 0,
        custom: null,
        errorMessage: null,
        addressCreated: null,
        name: 'new',
      })
      expect((await sessions.write(id, { user: 'old' }, { base: old })).outcome).toBe('gone')
      await sessions.destroy(id)
    }
  })

  test('because it expired is not reported as destroyed, but deleted', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, {})
    await expireAgo(kit, id, 5)
    expect(await sessions.destroy(id)).toBe(false)
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })
})
