import { expect, test } from 'vitest'
import { describeOnEveryServer } from '../support/servers.ts'
import { wantedServers } from '../support/shared-servers.ts'

describeOnEveryServer('every server', (server) => {
  test('runs the version that it is named after', async () => {
    const database = await server.freshDatabase()
    const [row] = await database.query<{ version: string }>('SELECT version()')
    if (server.name === 'PostgreSQL 15') expect(row?.version).toMatch(/^PostgreSQL 15/)
    else expect(row?.version).toMatch(/^PostgreSQL \d\d/)
    expect(typeof database.db).toBe(server.kind === 'pglite' ? 'object' : 'string')
  })

  test('creates independent databases', async () => {
    const [one, two] = [await server.freshDatabase(), await server.freshDatabase()]
    await one.query('CREATE TABLE numbers (a int)')
    await one.query('INSERT INTO numbers VALUES ($1)', [7])
    expect(await one.query('SELECT a FROM numbers')).toEqual([{ a: 7 }])
    await expect(two.query('SELECT a FROM numbers')).rejects.toThrow(/does not exist/)
    await one.drop()
    await one.drop()
    await expect(one.query('SELECT 1')).rejects.toThrow()
  })
})

test('the environment selects the servers, and can add one', () => {
  expect(wantedServers({})).toEqual(['18'])
  expect(wantedServers({ SESSION_PGSQL_TEST_SERVERS: 'all' })).toEqual(['18', '15', 'pglite', 'pgbouncer'])
  expect(wantedServers({ SESSION_PGSQL_TEST_SERVERS: '15, pglite' })).toEqual(['15', 'pglite'])
  expect(wantedServers({ SESSION_PGSQL_TEST_SERVERS: '', SESSION_PGSQL_TEST_URL: 'postgres://h/d' })).toEqual(
    ['external'],
  )
  expect(() => wantedServers({ SESSION_PGSQL_TEST_SERVERS: '9' })).toThrow('got "9"')
})
