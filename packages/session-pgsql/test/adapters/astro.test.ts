import { parse, stringify, unflatten } from 'devalue'
import { expect, test } from 'vitest'
import type { Entries } from '../../src/adapters/astro/entries.ts'
import pgsqlSessionDriver from '../../src/adapters/astro.ts'
import { optionsFor } from '../express/site.ts'
import { describeOnEveryKind } from '../support/servers.ts'

const ID = 'b7e3cbb1-8a6e-4a0f-9c1d-0f7a3f2f7a11'
const URLS = { URL: (value: unknown) => value instanceof URL && value.href }
const revivers = { URL: (href: unknown) => new URL(href as string) }

describeOnEveryKind('The session driver of Astro', (server) => {
  /** Does what Astro does in a request: loads the session, lets the request change it, and saves it. */
  async function start() {
    const database = await server.freshDatabase()
    const driver = pgsqlSessionDriver({ ...optionsFor(database), field: 'user' })
    const load = async (): Promise<Entries> => {
      const raw = await driver.getItem(ID)
      return raw === null ? new Map() : (unflatten(raw as number[], revivers) as Entries)
    }
    const save = (entries: Entries) => driver.setItem(ID, stringify(entries, URLS))
    return { driver, query: database.query, load, save }
  }

  test('stores values that JSON cannot represent, and merges them key by key with an overlapping request', async () => {
    const { driver, query, load, save } = await start()
    try {
      const shared = { a: 1 }
      const values = new Map<string, unknown>([
        ['date', new Date(7)],
        ['map', new Map([['k', new Set([1])]])],
        ['url', new URL('https://example.org/')],
        ['nothing', undefined],
        ['twice', [shared, shared]],
        ['plain', { list: [1, null, 'text'] }],
      ])
      await save(new Map([...values].map(([key, data]) => [key, { data }])))
      const [one, other] = [await load(), await load()]
      for (const [key, data] of values) expect([key, one.get(key)?.data]).toEqual([key, data])
      one.set('date', { data: new Date(8) })
      other.delete('map')
      await save(one)
      await save(other)
      const merged = await load()
      expect(merged.get('date')?.data).toEqual(new Date(8))
      expect(merged.has('map')).toBe(false)
      const [row] = await query<{ data: string }>('SELECT sess_data AS data FROM php_session')
      const stored = JSON.parse(row?.data ?? '')
      expect(stored.plain).toEqual({ list: [1, null, 'text'] })
      expect(parse(stored.$session.devalue.date)).toEqual(new Date(8))
    } finally {
      await driver.close()
    }
  })

  test('a session lives until its last value ends, and the field follows its key', async () => {
    const { driver, load, save } = await start()
    try {
      const inTenDays = Date.now() + 864_000_000
      await save(new Map([['user', { data: 7, expires: inTenDays }]]))
      const [found] = await driver.handler.findByField('7')
      expect(found?.expires?.getTime()).toBeGreaterThan(inTenDays - 60_000)
      const entries = await load()
      expect(entries.get('user')).toEqual({ data: 7, expires: inTenDays })
      entries.delete('user')
      entries.set('color', { data: 'blue' })
      await save(entries)
      expect(await driver.handler.findByField('7')).toEqual([])
    } finally {
      await driver.close()
    }
  })

  test('a request that changes every key keeps what another has added, and restores no destroyed session', async () => {
    const { driver, load, save } = await start()
    try {
      await save(new Map([['a', { data: 1 }]]))
      const slow = await load()
      await save((await load()).set('b', { data: 2 }))
      slow.delete('a')
      await save(slow)
      expect([...(await load()).keys()]).toEqual(['b', '$session'])
      const late = await load()
      await driver.removeItem(ID)
      await save(late.set('c', { data: 3 }))
      expect(await driver.handler.list()).toEqual([])
      await expect(save(new Map([['$session', { data: 1 }]]))).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    } finally {
      await driver.close()
    }
  })
})
