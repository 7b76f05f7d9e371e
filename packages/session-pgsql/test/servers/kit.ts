import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { eventually } from '../support/wait.ts'

export type Data = Record<string, unknown>

/** Starts independent servers for the tests of one `describe`, with what these tests have in common. */
export function severalServers(howMany: 4 | 5 = 4) {
  const names = ['a', 'b', 'c', 'd', 'e'].slice(0, howMany)
  const servers: PostgresServer[] = []
  const open: SaveHandler<Data>[] = []
  const proxies: FaultyProxy[] = []

  beforeAll(async () => {
    // The servers are killed, but the machine keeps running: fsync is not needed.
    const settings = { fsync: 'off' }
    servers.push(...(await Promise.all(names.map(() => startPostgres({ version: '18', settings })))))
  })
  afterEach(async () => {
    for (const server of servers) if (!server.running) await server.start()
    await Promise.all(open.splice(0).map((handler) => handler.close()))
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()))
    // A failback stays pending for some seconds, and a new handler would learn of it.
    const unfinished = "DELETE FROM php_session WHERE sess_home IS NOT NULL OR sess_id LIKE 'failback %'"
    await Promise.all(servers.map((server) => server.query(unfinished).catch(() => {})))
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.remove()))
  })

  /** @param ports of proxies in front of the servers */
  function handlerOf(options: SaveHandlerOptions<Data> = {}, ports: (number | undefined)[] = [], count = 3) {
    const db = servers.slice(0, count).map((server, index) => {
      const port = ports[index] ?? server.port
      return `host=${server.host} port=${port} dbname=postgres user=postgres name=${names[index]}`
    })
    const handler = new SaveHandler<Data>({ db, gcInterval: 0, ...options })
    handler.on('error', () => {})
    open.push(handler)
    return handler
  }

  let count = 0
  /**
   * Returns ids that no other test uses.
   *
   * @param name the server at the position `at` of their ranking
   * @param among how many servers there are
   * @param at default 0: their home server
   */
  function idsOf(name: string, howMany: number, among = 3, at = 0): string[] {
    const ids: string[] = []
    while (ids.length < howMany) {
      const id = `id-${count++}`
      if (ranking(id, among)[at] === name) ids.push(id)
    }
    return ids
  }

  function ranking(id: string, among = 3): string[] {
    const placed = names.slice(0, among).map((name) => ({ name, weight: 1 }))
    return rank(id, placed).map(({ name }) => name)
  }

  const idOf = (name: string): string => idsOf(name, 1)[0] as string

  /** Returns ids that no other test uses, with these servers first in their ranking among three. */
  function idsRanked(first: readonly string[], howMany: number): string[] {
    const ids: string[] = []
    while (ids.length < howMany) {
      const [id] = idsOf(first[0] as string, 1) as [string]
      if (first.every((name, at) => ranking(id)[at] === name)) ids.push(id)
    }
    return ids
  }

  const server = (name: string): PostgresServer => servers[names.indexOf(name)] as PostgresServer

  /** The servers that have a row of this id, tombstones included. */
  async function places(id: string): Promise<string[]> {
    const found: string[] = []
    for (const [index, one] of servers.entries()) {
      const rows = await one
        .query('SELECT sess_destroyed FROM php_session WHERE sess_id = $1', [id])
        .catch(() => [])
      if (rows.length > 0)
        found.push(`${names[index]}${rows[0]?.sess_destroyed == null ? '' : ' (tombstone)'}`)
    }
    return found
  }

  /** The number of rows that belong on another server. */
  async function fallbackRows(): Promise<number> {
    let sum = 0
    for (const one of servers) {
      if (!one.running) continue
      const [row] = await one
        .query<{ n: number }>('SELECT count(*)::int AS n FROM php_session WHERE sess_home IS NOT NULL')
        .catch(() => [])
      sum += row?.n ?? 0
    }
    return sum
  }

  const isDown = (handler: SaveHandler<Data>, name: string): boolean =>
    handler.status().servers.find((one) => one.name === name)?.health === 'down'

  /** Starts a proxy that is stopped after the test. */
  async function proxyTo(name: string): Promise<FaultyProxy> {
    const proxy = await startProxy(server(name))
    proxies.push(proxy)
    return proxy
  }

  /** Starts a server, and waits until the handler uses it and all rows have moved back. */
  async function startAgain(handler: SaveHandler<Data>, name: string): Promise<void> {
    await server(name).start()
    await eventually(async () => {
      expect(isDown(handler, name)).toBe(false)
      expect(await fallbackRows()).toBe(0)
    })
  }

  return {
    ...{ names, servers, server, handlerOf, idsOf, idOf, idsRanked, places, fallbackRows, isDown, proxyTo },
    startAgain,
  }
}
