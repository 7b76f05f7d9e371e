import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { freePort } from '../../../session-pgsql/test/support/connect.ts'
import { startProxy } from '../../../session-pgsql/test/support/proxy.ts'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { run } from '../../src/run.ts'
import { gateways, UNLOCK } from './kit.ts'

describeOnEveryKind(
  "the gateway's metrics",
  (server) => {
    const { start, db, after: atEnd } = gateways(server)

    test('count commands by name, connections and locks, besides the metrics of the save handler', async () => {
      const { talk, healthPort, sessions } = await start({ healthPort: 0 })
      const client = talk()
      const key = `PHPSESSID:${'k'.repeat(26)}`
      const lock = `${key}_LOCK`
      expect(await client.ask('SET', lock, 'me', 'NX', 'PX', '5000')).toBe('+OK\r\n')
      expect(await talk().ask('SET', lock, 'you', 'NX', 'PX', '5000')).toBe('$-1\r\n')
      const held = await scrape(healthPort)
      await client.ask('GET', key)
      await client.ask('SETEX', key, '100', 'n|i:1;')
      await client.ask('GET', 'PHPSESSID:not an id!')
      await client.ask('SETEX', key, 'soon', 'n|i:1;')
      await client.ask('FLUSHALL')
      await client.ask('EVALSHA', UNLOCK, '1', lock, 'me')
      const after = await scrape(healthPort)

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

    test('count an outage of one of two servers, and the sessions that the other one served', async () => {
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
      atEnd(async () => {
        http.close()
        await metrics.close()
        await sessions.close()
        await proxy.stop()
      })
      await sessions.open()
      const [here, there] = sessions.status().servers.map(({ name }) => name)
      const look = () => scrape((http.address() as AddressInfo).port)
      const up = async (name: string | undefined) =>
        (await look()).value('session_pgsql_server_up', { session_pgsql_server: name })
      const writeSessions = async () => {
        for (let n = 0; n < 10; n++) await sessions.write(sessions.createId(), { n })
      }
      await writeSessions()
      expect([await up(here), await up(there)]).toEqual([1, 1])
      const connections = (text: string) =>
        [...text.matchAll(/^db_client_connection_count\{.*\} (\d+)$/gm)].map(([, count]) => Number(count))
      const { text } = await look()
      expect(connections(text).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(1)
      expect(text).toMatch(/^db_client_connection_max\{.*\} 4$/m)

      await proxy.refuse()
      proxy.drop()
      await writeSessions()
      expect([await up(here), await up(there)]).toEqual([1, 0])
      const during = await look()
      expect(during.value('session_pgsql_server_outages_total', { session_pgsql_server: there })).toBe(1)
      const failovers = (name: string | undefined) =>
        during.value('session_pgsql_failovers_total', { session_pgsql_server: name })
      expect(failovers(there)).toBeGreaterThan(0)
      expect(failovers(here)).toBe(0)

      await proxy.resume()
      await until(async () => (await up(there)) === 1, 'the server to be up again')
      const after = await look()
      expect(after.value('session_pgsql_server_outages_total', { session_pgsql_server: there })).toBe(1)
    })

    test('count a connection beyond the limit', async () => {
      const { talk, healthPort } = await start({ healthPort: 0, maxConnections: 1 })
      const client = talk()
      await client.ask('PING')
      expect((await scrape(healthPort)).value('session_pgsql_gateway_connection_refused_total')).toBe(0)
      expect(await talk().ask('PING')).toContain('max number of clients')
      expect((await scrape(healthPort)).value('session_pgsql_gateway_connection_refused_total')).toBe(1)
    })

    test('are served to Prometheus by the command session-pgsql-server gateway, besides its health', async () => {
      const [port, healthPort] = [await freePort(), await freePort()]
      const stop = new AbortController()
      const argv = ['gateway', '--db', await db(), '--port', port, '--health-port', healthPort]
      let output = ''
      const running = run(argv.map(String), {
        environment: {},
        stdout: { write: (text: string) => (output += text) },
        stderr: { write: (text: string) => (output += text) },
        signal: stop.signal,
      })
      atEnd(async () => {
        stop.abort()
        expect(await running).toBe(0)
      })
      await until(() => output.includes('connected to the database'), 'the gateway')
      expect(output).toContain(`metrics: http://127.0.0.1:${healthPort}/metrics`)
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

/** Returns what Prometheus would read. */
async function scrape(port: number | undefined) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return {
    text,
    /** Returns the sample of this name with exactly these labels. */
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
