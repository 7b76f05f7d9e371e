import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SaveHandler } from 'session-pgsql'
import { afterEach, expect, test } from 'vitest'
import { freePort } from '../../../session-pgsql/test/support/connect.ts'
import { startProxy } from '../../../session-pgsql/test/support/proxy.ts'
import { describeOnEveryServer, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { phpValues } from '../../src/gateway/wire-format.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { run } from '../../src/run.ts'
import { Talk } from './talk.ts'

const UNLOCK = 'b70c2384248f88e6b75b9f89241a180f856ad852'

describeOnEveryServer(
  "the gateway's metrics",
  (server) => {
    const closing: (() => Promise<unknown>)[] = []
    let database: FreshDatabase | undefined
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    async function start(maxConnections = 100) {
      database ??= await server.freshDatabase()
      const sessions = new SaveHandler({
        db: database.db as string,
        codec: 'php',
        idPattern: 'php',
        gcInterval: 0,
      })
      const metrics = new Metrics(sessions)
      const gateway = new Gateway({
        sessions,
        wireFormat: phpValues('php'),
        host: '127.0.0.1',
        port: 0,
        password: undefined,
        tls: undefined,
        maxConnections,
        maxValue: 100_000,
        idleTimeout: 0,
        healthPort: 0,
        metrics,
      })
      closing.push(
        () => sessions.close(),
        () => metrics.close(),
        () => gateway.close(),
      )
      const { port, healthPort } = await gateway.listen()
      const talk = (): Talk => {
        const talk = new Talk(port)
        closing.push(async () => talk.end())
        return talk
      }
      return { sessions, healthPort, talk, scrape: () => scrape(healthPort as number) }
    }

    test('commands by name, connections and locks, beside those of the save handler', async () => {
      const { talk, scrape, sessions } = await start()
      const client = talk()
      const key = `PHPSESSID:${'k'.repeat(26)}`
      const lock = `${key}_LOCK`
      expect(await client.ask('SET', lock, 'me', 'NX', 'PX', '5000')).toBe('+OK\r\n')
      expect(await talk().ask('SET', lock, 'you', 'NX', 'PX', '5000')).toBe('$-1\r\n')
      const held = await scrape()
      await client.ask('GET', key)
      await client.ask('SETEX', key, '100', 'n|i:1;')
      await client.ask('GET', 'PHPSESSID:not an id!')
      await client.ask('SETEX', key, 'soon', 'n|i:1;')
      await client.ask('FLUSHALL')
      await client.ask('EVALSHA', UNLOCK, '1', lock, 'me')
      const after = await scrape()

      expect(held.value('session_pgsql_gateway_lock_count')).toBe(1)
      expect(after.value('session_pgsql_gateway_lock_count')).toBe(0)
      expect(
        after.value('session_pgsql_gateway_lock_requests_total', { session_pgsql_outcome: 'taken' }),
      ).toBe(1)
      expect(
        after.value('session_pgsql_gateway_lock_requests_total', { session_pgsql_outcome: 'busy' }),
      ).toBe(1)
      expect(after.value('session_pgsql_gateway_connection_count')).toBe(2)
      expect(after.value('session_pgsql_gateway_connection_max')).toBe(100)
      const commands = (name: string, error?: string) =>
        after.value('session_pgsql_gateway_command_duration_seconds_count', {
          db_operation_name: name,
          error_type: error,
        })
      expect(commands('SET')).toBe(2)
      expect(commands('GET')).toBe(1)
      expect(commands('GET', 'REFUSED')).toBe(1)
      expect(commands('SETEX')).toBe(1)
      expect(commands('SETEX', 'REFUSED')).toBe(1)
      expect(commands('unknown', 'REFUSED')).toBe(1)
      expect(
        after.value('session_pgsql_operation_duration_seconds_count', {
          db_operation_name: 'write',
          session_pgsql_outcome: 'created',
        }),
      ).toBe(1)
      expect(
        after.value('session_pgsql_server_up', { session_pgsql_server: sessions.status().servers[0]?.name }),
      ).toBe(1)
      for (const secret of ['kkk', 'FLUSHALL', 'n|i', 'not an id']) expect(after.text).not.toContain(secret)
    })

    test('an outage of one of two servers: it is not up, it is counted, and so is who was served by the other', async () => {
      const [near, far] = [await server.freshDatabase(), await server.freshDatabase()]
      const url = new URL(far.db as string)
      const proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
      url.port = String(proxy.port)
      const sessions = new SaveHandler({
        db: [near.db as string, url.href],
        codec: 'php',
        gcInterval: 0,
        operationTimeout: 3,
        poolSize: 4,
      })
      const metrics = new Metrics(sessions)
      const http = createServer((request, response) => void metrics.answer(request, response))
      await new Promise<void>((done) => http.listen(0, '127.0.0.1', done))
      closing.push(
        () => proxy.stop(),
        () => sessions.close(),
        () => metrics.close(),
        async () => http.close(),
      )
      await sessions.open()
      const [here, there] = sessions.status().servers.map(({ name }) => name)
      const look = () => scrape((http.address() as AddressInfo).port)
      const up = async (name: string | undefined) =>
        (await look()).value('session_pgsql_server_up', { session_pgsql_server: name })
      const visit = async () => {
        for (let n = 0; n < 10; n++) await sessions.write(sessions.createId(), { n })
      }
      await visit()
      expect([await up(here), await up(there)]).toEqual([1, 1])
      const connections = (text: string) =>
        [...text.matchAll(/^db_client_connection_count\{.*\} (\d+)$/gm)].map(([, count]) => Number(count))
      const { text } = await look()
      expect(connections(text).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(1)
      expect(text).toMatch(/^db_client_connection_max\{.*\} 4$/m)

      await proxy.refuse()
      proxy.drop()
      await visit()
      expect([await up(here), await up(there)]).toEqual([1, 0])
      const during = await look()
      expect(during.value('session_pgsql_server_outages_total', { session_pgsql_server: there })).toBe(1)
      const failovers = (name: string | undefined) =>
        during.value('session_pgsql_failovers_total', { session_pgsql_server: name })
      expect(failovers(there)).toBeGreaterThan(0)
      expect(failovers(here)).toBe(0)

      await proxy.resume()
      await until(async () => (await up(there)) === 1, 'the server is up again')
      const after = await look()
      expect(after.value('session_pgsql_server_outages_total', { session_pgsql_server: there })).toBe(1)
    })

    test('a connection that is one too many is counted', async () => {
      const { talk, scrape } = await start(1)
      const client = talk()
      await client.ask('PING')
      expect((await scrape()).value('session_pgsql_gateway_connection_refused_total')).toBe(0)
      expect(await talk().rest()).toContain('max number of clients')
      expect((await scrape()).value('session_pgsql_gateway_connection_refused_total')).toBe(1)
    })

    test('the command session-pgsql-server gateway serves them beside its health, to Prometheus', async () => {
      database ??= await server.freshDatabase()
      const [port, healthPort] = [await freePort(), await freePort()]
      const stop = new AbortController()
      const argv = ['gateway', '--db', database.db as string, '--port', port, '--health-port', healthPort]
      let said = ''
      const running = run(argv.map(String), {
        environment: {},
        stdout: { write: (text: string) => (said += text) },
        stderr: { write: (text: string) => (said += text) },
        signal: stop.signal,
      })
      closing.push(async () => {
        stop.abort()
        expect(await running).toBe(0)
      })
      await until(() => said.includes('connected to the database'), 'the gateway')
      expect(said).toContain(`metrics: http://127.0.0.1:${healthPort}/metrics`)
      const response = await fetch(`http://127.0.0.1:${healthPort}/metrics`)
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
      expect(await response.text()).toContain('# TYPE session_pgsql_server_up gauge')
      expect((await fetch(`http://127.0.0.1:${healthPort}/metrics`, { method: 'POST' })).status).toBe(404)
      expect((await fetch(`http://127.0.0.1:${healthPort}/health`)).status).toBe(200)
    })
  },
  ['postgres'],
)

/** What Prometheus would see. */
async function scrape(port: number) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return {
    text,
    /** The sample of this name with exactly these labels, but for the buckets'. */
    value(name: string, labels: Record<string, string | undefined> = {}): number | undefined {
      const wanted = Object.entries(labels).flatMap(([label, value]) =>
        value === undefined ? [] : [`${label}="${value}"`],
      )
      for (const line of text.split('\n')) {
        const [, found, inside = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
        if (found === name && inside.split(',').filter(Boolean).sort().join() === wanted.sort().join()) {
          return Number(value)
        }
      }
      return undefined
    },
  }
}
