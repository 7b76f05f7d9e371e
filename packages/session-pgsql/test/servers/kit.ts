import { afterAll, afterEach, beforeAll } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'

export type Data = Record<string, unknown>

/** Four servers of their own for the tests of one `describe`, and handlers on three of them unless it says otherwise. */
export function severalServers() {
  const names = ['a', 'b', 'c', 'd']
  const servers: PostgresServer[] = []
  const open: SaveHandler<Data>[] = []
  const proxies: FaultyProxy[] = []

  beforeAll(async () => {
    // Killed they are, but the machine is not.
    const settings = { fsync: 'off' }
    servers.push(...(await Promise.all(names.map(() => startPostgres({ version: '18', settings })))))
  })
  afterEach(async () => {
    for (const server of servers) if (!server.running) await server.start()
    await Promise.all(open.splice(0).map((handler) => handler.close()))
    await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()))
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.remove()))
  })

  /** @param ports where to reach each, if not directly */
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
   * Ids whose home is this server, and that no other test uses.
   *
   * @param among how many servers there are
   * @param at the server's place in the ranking of these ids; 0: their home
   */
  function idsOf(name: string, howMany: number, among = 3, at = 0): string[] {
    const placed = names.slice(0, among).map((one) => ({ name: one, weight: 1 }))
    const ids: string[] = []
    while (ids.length < howMany) {
      const id = `id-${count++}`
      if (rank(id, placed)[at]?.name === name) ids.push(id)
    }
    return ids
  }
  const idOf = (name: string): string => idsOf(name, 1)[0] as string
  const server = (name: string): PostgresServer => servers[names.indexOf(name)] as PostgresServer

  /** Where a row lies, whatever it is. */
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

  async function marked(): Promise<number> {
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

  /** A proxy that is stopped after the test. */
  async function proxyTo(name: string): Promise<FaultyProxy> {
    const proxy = await startProxy(server(name))
    proxies.push(proxy)
    return proxy
  }

  return { names, servers, server, handlerOf, idsOf, idOf, places, marked, isDown, proxyTo }
}
