import { expect, test } from 'vitest'
import { eventually } from '../support/wait.ts'
import { describeHandler } from './kit.ts'

/** Session locks, for callers that run one request of a session at a time. */
describeHandler('The lock of a session', (kit) => {
  test('has one owner at a time in all processes, and only its owner can release it', async () => {
    const [here, there] = [kit.open(), kit.open()]
    const id = kit.id()
    expect(await here.lockOwner(id)).toBeUndefined()
    expect(await here.unlock(id, 'me')).toBe(false)
    expect(await here.tryLock(id, 'me', 30)).toBe(true)
    expect(await there.tryLock(id, 'you', 30)).toBe(false)
    expect(await there.lockOwner(id)).toBe('me')
    expect(await there.unlock(id, 'you')).toBe(false)
    // The owner takes it again, which renews it.
    expect(await here.tryLock(id, 'me', 30)).toBe(true)
    expect(await here.unlock(id, 'me')).toBe(true)
    expect(await there.tryLock(id, 'you', 30)).toBe(true)
  })

  test('is given to one of many concurrent callers', async () => {
    const handlers = [kit.open(), kit.open(), kit.open()]
    const id = kit.id()
    const got = await Promise.all(
      Array.from({ length: 30 }, (_, n) => handlers[n % 3]?.tryLock(id, `owner${n}`, 30)),
    )
    expect(got.filter(Boolean)).toHaveLength(1)
  })

  test('ends when its lease does', async () => {
    const sessions = kit.open()
    const id = kit.id()
    expect(await sessions.tryLock(id, 'dead', 0.3)).toBe(true)
    await eventually(async () => expect(await sessions.tryLock(id, 'next', 30)).toBe(true))
    expect(await sessions.tryLock(id, 'dead', 30)).toBe(false)
    await sessions.gc()
    expect(await sessions.lockOwner(id)).toBe('next')
  })

  test('does not prevent reads and writes of the session', async () => {
    const sessions = kit.open()
    const id = kit.id()
    await sessions.tryLock(id, 'me', 30)
    const { session } = await sessions.write(id, { n: 1 }, { base: null })
    expect((await sessions.write(id, { n: 2 }, { base: session })).outcome).toBe('updated')
    expect(await sessions.destroy(id)).toBe(true)
    expect(await sessions.lockOwner(id)).toBe('me')
  })

  test('requires a valid id, owner and duration', async () => {
    const sessions = kit.open()
    await expect(sessions.tryLock('no blanks here', 'me', 1)).rejects.toMatchObject({ code: 'INVALID_ID' })
    await expect(sessions.tryLock(kit.id(), 'me', -1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(sessions.tryLock(kit.id(), 5 as never, 1)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})
