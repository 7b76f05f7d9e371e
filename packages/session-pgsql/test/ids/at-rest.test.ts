import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { runHere } from '../cli/command-line.ts'
import { id } from '../handler/kit.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

describe('with hashed ids', () => {
  let server: PostgresServer
  beforeAll(async () => {
    const settings = { log_statement: 'all', log_parameter_max_length: '-1', log_min_duration_statement: '0' }
    server = await startPostgres({ version: '18', settings })
  })
  afterAll(() => server.remove())

  /** Returns what PostgreSQL has written to disk, with its write-ahead log. */
  function filesOf(folder: string): Buffer {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) =>
      file.isFile(),
    )
    return Buffer.concat(files.map(({ parentPath, name }) => readFileSync(join(parentPath, name))))
  }

  test('the files of the database and the log of all statements contain no id', async () => {
    const db = server.conninfo()
    const sessions = new SaveHandler({ db, ids: 'hashed', gcInterval: 0 })
    const ids = Array.from({ length: 20 }, id)
    const [x, y] = ids as [string, string]
    for (const one of ids) await sessions.write(one, { a: 1 }, { base: null, custom: 'ada' })
    const base = await sessions.read(x)
    await sessions.write(x, { a: 2 }, { base })
    await sessions.write(x, { b: 2 }, { base })
    await sessions.update(x, (data) => ({ ...data, c: 3 }))
    await sessions.touch(x, { base })
    await sessions.tryLock(x, 'owner', 60)
    await sessions.lockOwner(x)
    await sessions.unlock(x, 'owner')
    await sessions.destroy(y)
    await sessions.gc()
    await sessions.close()
    await server.query('CHECKPOINT')

    const texts = { log: Buffer.from(server.log()), files: filesOf(server.dataDir) }
    expect(texts.log.includes(hashedId(x))).toBe(true)
    expect(texts.files.includes(hashedId(x))).toBe(true)
    for (const [where, text] of Object.entries(texts)) {
      expect([where, ids.filter((one) => text.includes(one))]).toEqual([where, []])
    }
  })

  test('hash-ids sends no id, so that the log does not contain one', async () => {
    const db = server.conninfo()
    const table = 'hashed_later'
    const plain = new SaveHandler({ db, table, gcInterval: 0 })
    const ids = Array.from({ length: 20 }, id)
    for (const one of ids) {
      await plain.write(one, {})
      await plain.tryLock(one, 'owner', 60)
    }
    await plain.close()
    const before = server.log().length
    expect((await runHere(['hash-ids', '--db', db, '--table', table])).code).toBe(0)
    expect(server.log().length).toBeGreaterThan(before)
    expect(ids.filter((one) => server.log().slice(before).includes(one))).toEqual([])
    const dump = JSON.stringify([
      await server.query(`SELECT * FROM ${table}`),
      await server.query(`SELECT * FROM ${table}_lock`),
    ])
    expect([dump.includes(hashedId(ids[0] as string)), ids.filter((one) => dump.includes(one))]).toEqual([
      true,
      [],
    ])
  })
})

describe('with plain ids, the SQL of doctor --security', () => {
  let server: PostgresServer
  beforeAll(async () => {
    const settings = { log_statement: 'all', log_min_duration_statement: '0' }
    server = await startPostgres({ version: '18', settings })
  })
  afterAll(() => server.remove())

  test('keeps ids and data out of the log', async () => {
    const db = server.conninfo()
    const logged = async (one: string) => {
      const before = server.log().length
      const sessions = new SaveHandler({ db, gcInterval: 0 })
      await sessions.write(one, { secret: `data of ${one}` })
      const base = await sessions.read(one)
      await sessions.touch(one, { base })
      await sessions.destroy(one)
      await sessions.close()
      return server.log().slice(before)
    }
    const [x, y] = [id(), id()]
    expect(await logged(x)).toContain(`data of ${x}`)
    const ran = await runHere(['doctor', '--security', '--json', '--db', db])
    const { findings } = JSON.parse(ran.stdout).servers[0]
    const { level, remedy } = findings.find(({ check }: { check: string }) => check === 'statement-log')
    expect(level).toBe('warning')
    for (const sql of remedy) await server.query(sql)
    const log = await logged(y)
    expect(log).toContain('php_session')
    expect(log).not.toContain(y)
  })
})
