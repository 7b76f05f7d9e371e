import { beforeAll, describe, expect, test } from 'vitest'
import { Gate, shown, signedIn } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import { type Php, phpFpm } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

const MANY = 50

const WAYS = [
  ['a connection for each request', '', 'cgi'],
  ['persistent connections', '&persistent=1', 'cgi'],
  ...(phpFpm() === undefined ? [] : [['persistent connections of php-fpm', '&persistent=1', 'fpm'] as const]),
] as const

describeWithPhp('overlapping requests of PHP', (place) => {
  if (phpFpm() === undefined) test('needs php-fpm', (ctx) => ctx.skip('no php-fpm on this machine'))

  let gateway: Gateway
  beforeAll(async () => {
    gateway = await place.gateway({ db: await place.database() })
  })

  describe.each(WAYS)('%s, without locking', (_, more, by) => {
    let php: Php
    beforeAll(async () => {
      php = await place.php({ ini: gateway.ini(`prefix=PHPSESSID:${more}`), by, workers: MANY + 1 })
    })

    test(`keep all keys when ${MANY} requests each add one`, async () => {
      const visitor = await signedIn(php)
      const keys = Array.from({ length: MANY }, (_, index) => `key${index}`)
      const gate = await Gate.make(php)
      const answers = keys.map((key) => gate.visit(visitor, { do: 'set', key }))
      await gate.open(MANY)
      for (const { text } of await Promise.all(answers)) expect(Object.keys(JSON.parse(text))).toHaveLength(2)
      expect(await shown(visitor)).toEqual({
        user: 'ada',
        ...Object.fromEntries(keys.map((key) => [key, 1])),
      })
    })

    test(`keep all keys when ${MANY} requests create the same session`, async () => {
      const visitor = php.visitor()
      visitor.cookies.set('PHPSESSID', `fresh-${by}-${more.length}`)
      const gate = await Gate.make(php)
      const keys = Array.from({ length: MANY }, (_, index) => `key${index}`)
      const answers = keys.map((key) => gate.visit(visitor, { do: 'set', key }))
      await gate.open(MANY)
      for (const { text } of await Promise.all(answers)) expect(text).toMatch(/^\{.*\}$/)
      expect(Object.keys(await shown(visitor)).sort()).toEqual(keys.sort())
    })

    test(`keep all items when ${MANY} requests each append one to a list`, async () => {
      const visitor = await signedIn(php)
      await visitor.visit('overlap.php', { query: { do: 'append', key: 'cart', value: 'first' } })
      const gate = await Gate.make(php)
      const items = Array.from({ length: MANY }, (_, index) => `item${index}`)
      const answers = items.map((value) => gate.visit(visitor, { do: 'append', key: 'cart', value }))
      await gate.open(MANY)
      for (const { text } of await Promise.all(answers)) expect(text).toMatch(/^\{.*\}$/)
      const { cart } = (await shown(visitor)) as { readonly cart: string[] }
      expect(cart[0]).toBe('first')
      expect([...cart].sort()).toEqual(['first', ...items].sort())
    })

    test(`all succeed and one value is kept when ${MANY} requests set the same new key`, async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const answers = Array.from({ length: MANY }, (_, value) =>
        gate.visit(visitor, { do: 'set', key: 'same', value }),
      )
      await gate.open(MANY)
      for (const { text } of await Promise.all(answers)) expect(text).toMatch(/^\{.*\}$/)
      const { same, ...rest } = await shown(visitor)
      expect(rest).toEqual({ user: 'ada' })
      expect(Number(same)).toBeLessThan(MANY)
    })

    test('keep a key removed that one request removes', async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const slow = gate.visit(visitor, { do: 'set', key: 'other' })
      await gate.arrived(1)
      await visitor.visit('overlap.php', { query: { do: 'unset', key: 'user' } })
      await gate.open(1)
      await slow
      expect(await shown(visitor)).toEqual({ other: 1 })
    })

    test('do not restore a session destroyed by session_destroy() during a request', async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const writer = gate.visit(visitor, { do: 'set', key: 'late' })
      const reader = gate.visit(visitor, { do: 'read' })
      await gate.arrived(2)
      await visitor.clone().visit('overlap.php', { query: { do: 'destroy' } })
      await gate.open(2)
      // The user is logged out; that is no failure of the request.
      expect(JSON.parse((await writer).text)).toEqual({ user: 'ada', late: 1 })
      expect(JSON.parse((await reader).text)).toEqual({ user: 'ada' })
      expect(await shown(visitor)).toEqual({})
    })

    test('do not write to a new session under the id of a destroyed one', async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const writer = gate.visit(visitor, { do: 'set', key: 'late' })
      await gate.arrived(1)
      await visitor.clone().visit('overlap.php', { query: { do: 'destroy' } })
      await visitor.clone().visit('overlap.php', { query: { do: 'set', key: 'user', value: 'eve' } })
      await gate.open(1)
      await writer
      expect(await shown(visitor)).toEqual({ user: 'eve' })
    })

    test('do not restore a session that session_regenerate_id(true) has left', async () => {
      const visitor = await signedIn(php)
      const before = visitor.clone()
      const gate = await Gate.make(php)
      const writer = gate.visit(before, { do: 'set', key: 'late' })
      await gate.arrived(1)
      await visitor.visit('overlap.php', { query: { do: 'regenerate' } })
      await gate.open(1)
      await writer
      expect(await shown(before)).toEqual({})
      expect(await shown(visitor)).toEqual({ user: 'ada' })
    })
  })

  describe.each(WAYS)('%s, with redis.session.locking_enabled', (_, more, by) => {
    let php: Php
    beforeAll(async () => {
      php = await place.php({
        ini: {
          ...gateway.ini(`prefix=PHPSESSID:${more}`),
          'redis.session.locking_enabled': 1,
          'redis.session.lock_retries': -1,
          'redis.session.lock_wait_time': 20_000,
        },
        by,
        workers: MANY + 1,
      })
    })

    test(`count to ${MANY} when ${MANY} requests each add one to a number`, async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const answers = Array.from({ length: MANY }, () =>
        gate.visit(visitor, { do: 'gate, then start', hold: 1000 }),
      )
      await gate.open(MANY)
      const counts = (await Promise.all(answers)).map(({ text }) => JSON.parse(text).count)
      expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: MANY }, (_, index) => index + 1))
      expect(await shown(visitor)).toEqual({ user: 'ada', count: MANY })
    })

    test('destroy a session only after the request that holds its lock', async () => {
      const visitor = await signedIn(php)
      const gate = await Gate.make(php)
      const writer = gate.visit(visitor, { do: 'set', key: 'late' })
      await gate.arrived(1)
      const destroyed = visitor.clone().visit('overlap.php', { query: { do: 'destroy' } })
      await gate.open(1)
      await Promise.all([writer, destroyed])
      expect(await shown(visitor)).toEqual({})
    })
  })
})
