import { describe, expect, test } from 'vitest'
import { runHere } from '../cli/command-line.ts'
import { severalServers } from './kit.ts'

/** Lists and counts of all servers while one of them cannot be reached. */
describe('lists while a server is down', () => {
  const { names, server, servers, handlerOf, idsOf } = severalServers()

  test('list and findByField name the servers that are missing, and count rejects', async () => {
    const sessions = handlerOf()
    const ids = ['a', 'b', 'c'].flatMap((name) => idsOf(name, 2))
    for (const id of ids) await sessions.write(id, { id }, { base: null, custom: 'listed' })
    expect((await sessions.list({ field: 'listed' })).missing).toEqual([])
    expect((await sessions.findByField('listed')).missing).toEqual([])
    expect(await sessions.count({ field: 'listed' })).toBe(6)

    await server('b').kill9()
    const page = await sessions.list({ field: 'listed' })
    expect([page.length, page.missing]).toEqual([4, ['b']])
    const found = await sessions.findByField('listed')
    expect([found.length, found.missing]).toEqual([4, ['b']])
    expect(found.map(({ data }) => data.id).sort()).toEqual([...ids.slice(0, 2), ...ids.slice(4)].sort())
    await expect(sessions.count({ field: 'listed' })).rejects.toMatchObject({
      code: 'SERVER_DOWN',
      message: expect.stringMatching(/Counted 4 sessions.*: b\./),
    })
  })

  test('with whenHomeIsDown: "error", findByField rejects while a server is missing', async () => {
    const sessions = handlerOf({ whenHomeIsDown: 'error' })
    const [id] = idsOf('a', 1) as [string]
    await sessions.write(id, {}, { base: null, custom: 'strict' })
    expect(await sessions.findByField('strict')).toHaveLength(1)
    await server('b').kill9()
    await expect(sessions.findByField('strict')).rejects.toMatchObject({
      code: 'SERVER_DOWN',
      message: expect.stringMatching(/: b\./),
    })
    expect((await sessions.list({ field: 'strict' })).missing).toEqual(['b'])
  })

  test('the command "list" names them, and exits with 1', async () => {
    const sessions = handlerOf()
    const [onA, onB] = [...idsOf('a', 1), ...idsOf('b', 1)] as [string, string]
    for (const id of [onA, onB]) await sessions.write(id, {}, { base: null, custom: 'commanded' })
    const db = servers.slice(0, 3).flatMap((one, n) => ['--db', `${one.conninfo()} name=${names[n]}`])
    const argv = ['list', '--field', 'commanded', '--full-ids', ...db]
    expect(JSON.parse((await runHere([...argv, '--json'])).stdout)).not.toHaveProperty('missing')
    await server('b').kill9()
    const json = await runHere([...argv, '--json'])
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({ sessions: [{ id: onA }], missing: ['b'] })
    const text = await runHere(argv)
    expect(text.code).toBe(1)
    expect(text.stdout).toContain(onA)
    expect(text.stderr).toMatch(/sessions on b,.*SERVER_DOWN/)
  })

  test('reject if no server can be reached', async () => {
    const sessions = handlerOf()
    await sessions.open()
    await Promise.all(['a', 'b', 'c'].map((name) => server(name).kill9()))
    for (const ask of [() => sessions.list(), () => sessions.count(), () => sessions.findByField('x')]) {
      await expect(ask()).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    }
  })
})
