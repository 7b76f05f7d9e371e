import { afterEach, beforeAll, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { runHere } from '../cli/command-line.ts'
import { errorOf, id } from '../handler/kit.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'

let tables = 0

describeOnEveryServer(
  'Hashed ids with several entries',
  (server) => {
    const names = ['a', 'b']
    let databases: FreshDatabase[]
    let db: string[]
    const opened: SaveHandler[] = []
    beforeAll(async () => {
      databases = await Promise.all(names.map(() => server.freshDatabase()))
      db = databases.map(({ db }, n) => {
        const { hostname, port, pathname, username } = new URL(db as string)
        return `host=${hostname} port=${port} dbname=${pathname.slice(1)} user=${username} name=${names[n]}`
      })
    })
    afterEach(() => Promise.all(opened.splice(0).map((handler) => handler.close())))

    function open(table: string, ids: SaveHandlerOptions['ids'], entries = db): SaveHandler {
      const handler = new SaveHandler({ db: entries, table, ids, gcInterval: 0, operationTimeout: 15 })
      handler.on('error', () => {})
      opened.push(handler)
      return handler
    }
    const newTable = (): string => `several_ids_${process.pid}_${++tables}`

    test('are placed by the hashed form, and found, listed and destroyed', async () => {
      const table = newTable()
      const [sessions, other] = [open(table, 'hashed'), open(table, 'hashed')]
      const ids = Array.from({ length: 30 }, id)
      await Promise.all(ids.map((x) => sessions.write(x, { a: 1 }, { base: null, custom: 'ada' })))
      for (const [n, name] of names.entries()) {
        const rows = await databases[n]?.query<{ sess_id: string }>(
          `SELECT sess_id FROM ${table} WHERE sess_destroyed IS NULL ORDER BY sess_id COLLATE "C"`,
        )
        const servers = names.map((one) => ({ name: one, weight: 1 }))
        const placed = ids.map(hashedId).filter((form) => rank(form, servers)[0]?.name === name)
        expect(rows?.map((row) => row.sess_id)).toEqual(placed.sort())
      }
      const [x, y] = ids as [string, string]
      const base = await other.read(x)
      expect([base?.id, (await other.write(x, { a: 2 }, { base })).outcome]).toEqual([x, 'updated'])
      expect(await other.destroyListed(hashedId(y))).toBe(true)
      expect(await sessions.read(y)).toBeUndefined()
      expect(await other.destroyByField('ada')).toBe(29)
      expect(await sessions.read(x)).toBeUndefined()
      expect((await sessions.write(x, {}, { base })).outcome).toBe('gone')
    })

    test("cannot replace plain ids: 'migrate' and hash-ids are refused", async () => {
      expect((await errorOf(Promise.resolve().then(() => open(newTable(), 'migrate')))).code).toBe(
        'INVALID_OPTION',
      )
      const { code, stderr } = await runHere(['hash-ids', '--db', db.join(';')])
      expect([code, stderr]).toEqual([2, expect.stringContaining('several')])
    })

    test("'hashed' is refused for tables with plain ids, and 'plain' for tables with hashed ids", async () => {
      const plainTable = newTable()
      const plain = open(plainTable, 'plain')
      const ids = Array.from({ length: 20 }, id)
      await Promise.all(ids.map((x) => plain.write(x, {})))
      const refused = await errorOf(open(plainTable, 'hashed').read(ids[0] as string))
      expect([refused.code, refused.message]).toEqual([
        'TABLE_UNFIT',
        expect.stringContaining("set ids to 'plain'"),
      ])

      const hashedTable = newTable()
      // This process has opened the tables before the first hashed id.
      const early = open(hashedTable, 'plain')
      await early.open()
      const hashed = open(hashedTable, 'hashed')
      await Promise.all(ids.map((x) => hashed.write(x, {})))
      for (const handler of [early, open(hashedTable, 'plain')]) {
        // A process that has opened the tables learns of the hashed ids of each server when it reads there.
        await Promise.all(ids.map((x) => errorOf(handler.read(x))))
        for (const work of [
          () => handler.read(id()),
          () => handler.write(id(), {}),
          () => handler.destroy(id()),
        ]) {
          expect((await errorOf(work())).code).toBe('TABLE_UNFIT')
        }
      }
    })
  },
  ['postgres'],
)
