import { describe, expect, test } from 'vitest'
import { faketimeMissing } from '../support/postgres.ts'
import { eventually } from '../support/wait.ts'
import { severalServers } from './kit.ts'

/** Servers whose clocks differ. `a` is 30 seconds fast. */
describe.skipIf(faketimeMissing !== undefined)('servers with different clocks', () => {
  const { server, handlerOf, idsRanked, places, fallbackRows, isDown } = severalServers()

  test('a session that a fallback server destroyed without knowing its generation stays destroyed on a home server that is fast', async () => {
    const a = server('a')
    a.shiftClock(30)
    await a.restart()
    const sessions = handlerOf()
    const ids = idsRanked(['a', 'b'], 3)
    const [known, unknown, later] = ids as [string, string, string]
    for (const id of ids) await sessions.write(id, { n: 1 }, { base: null })
    await a.kill9()
    expect(await sessions.destroy(known)).toBe(false)
    expect(await sessions.destroy(later)).toBe(false)
    // This process has never reached the home server.
    const late = handlerOf()
    expect(await late.destroy(unknown)).toBe(false)
    await a.start()
    await eventually(async () => {
      expect([isDown(sessions, 'a'), isDown(late, 'a')]).toEqual([false, false])
      expect(await fallbackRows()).toBe(0)
    })
    for (const id of ids) {
      expect(await places(id)).toEqual(['a (tombstone)'])
      expect(await sessions.read(id)).toBeUndefined()
    }
    // The id may be used again.
    await sessions.write(later, { n: 2 }, { base: null })
    expect((await sessions.read(later))?.data).toEqual({ n: 2 })
  })

  test('a session created on a fallback server is destroyed by a tombstone of another process, whichever clock is ahead', async () => {
    const a = server('a')
    a.shiftClock(-30)
    await a.restart()
    const sessions = handlerOf()
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    await sessions.open()
    await a.kill9()
    await sessions.write(id, { n: 1 }, { base: null })
    await a.start()
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    await a.kill9()
    await sessions.destroy(id)
    await a.start()
    await eventually(async () => {
      expect(await fallbackRows()).toBe(0)
      expect(await places(id)).toEqual(['a (tombstone)'])
    })
  })

  test('a session that was moved back lives as long as on the fallback server', async () => {
    const a = server('a')
    a.shiftClock(30)
    await a.restart()
    const sessions = handlerOf()
    const [created, touched] = idsRanked(['a', 'b'], 2) as [string, string]
    const base = (await sessions.write(touched, { n: 1 }, { base: null, lifetime: 20 })).session
    await a.kill9()
    await sessions.write(created, { n: 1 }, { base: null, lifetime: 20 })
    expect((await sessions.write(touched, { n: 2 }, { base, lifetime: 20 })).outcome).toBe('updated')
    await a.start()
    await eventually(async () => expect(await places(created)).toEqual(['a']))
    for (const id of [created, touched]) {
      const { expires, clockAhead } = (await sessions.read(id)) as NonNullable<
        Awaited<ReturnType<typeof sessions.read>>
      >
      const left = ((expires as Date).getTime() - clockAhead - Date.now()) / 1000
      expect(left).toBeGreaterThan(10)
      expect(left).toBeLessThan(21)
    }
  })
})
