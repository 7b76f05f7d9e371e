import { spawnSync } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SaveHandler } from 'session-pgsql'
import { expect, inject, onTestFinished, test } from 'vitest'
import { freePort } from '../../../session-pgsql/test/support/connect.ts'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { eventually, sleep, until } from '../../../session-pgsql/test/support/wait.ts'
import { startConsole } from '../../src/console/start.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { phpValues } from '../../src/gateway/wire-format.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { DEFAULTS } from '../gateway/kit.ts'
import { Talk } from '../gateway/talk.ts'
import { listening, startProgram } from '../php/kit/program.ts'

const DOCS = join(import.meta.dirname, '../../../../docs')

const docs = (name: string): string => readFileSync(join(DOCS, name), 'utf8')

describeOnEveryKind(
  'dashboard, alerts and tables in docs/',
  (server) => {
    const fresh = async (): Promise<string> => (await server.freshDatabase()).db as string

    test('name the metrics and labels of the endpoints', async () => {
      const { traffic, ports } = await openSite([await fresh(), await fresh()])
      await traffic()
      const output = await until(async () => {
        const outputs = ports.map(async (port) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text())
        const text = (await Promise.all(outputs)).join('')
        return text.includes('session_pgsql_session_count') ? text : undefined
      }, 'the console to sample the sessions')
      const samples = [...output.matchAll(/^([a-z]\w*)(?:\{(.*)\})? /gm)]
      const metrics = new Set(samples.map(([, name]) => name as string))
      const labels = new Set(samples.flatMap(([, , inside = '']) => labelsIn(inside)))
      for (const label of ['job', 'instance', 'le']) labels.add(label)

      const variables = dashboard().templating.list.flatMap(({ definition }) => definition ?? [])
      for (const expression of [...variables, ...panelExpressions(), ...alertExpressions()]) {
        const named = namesIn(expression)
        expect(named.metrics.length, expression).toBeGreaterThan(0)
        for (const name of named.metrics) expect(metrics, expression).toContain(name)
        for (const name of named.labels) expect(labels, expression).toContain(name)
      }
      const shown = [
        ...docs('grafana-dashboard.json').matchAll(/\{\{(\w+)\}\}/g),
        ...docs('alerts.yml').matchAll(/\$labels\.(\w+)/g),
      ]
      for (const [, label] of shown) expect(labels).toContain(label)

      const rows = [
        ...docs('metrics.md').matchAll(/^\| `([a-z_.]+)` \| (\S+) \| (histogram|counter|gauge) \|/gm),
      ]
      const documented = rows.map(
        ([, name = '', unit, type]) =>
          name.replaceAll('.', '_') +
          (unit === 's' ? '_seconds' : '') +
          { histogram: '_count', counter: '_total', gauge: '' }[type as string],
      )
      const parts = /_(bucket|sum)$/
      // Only for a standby, which this server does not have.
      metrics.add('session_pgsql_standby_lag')
      expect(documented.sort()).toEqual([...metrics].filter((name) => !parts.test(name)).sort())
    })

    // The database makes no difference to Prometheus.
    if (server.name !== inject('sharedServers')[0]?.name) return

    test('have values in Prometheus for every expression, and alerts fire at the first error', async (ctx) => {
      const found = spawnSync('prometheus', ['--version'], { stdio: 'ignore' })
      if (found.error !== undefined) ctx.skip('no prometheus on this machine')
      const { traffic, fail, ports } = await openSite([await fresh(), await fresh()])
      const ask = await startPrometheus(ports)
      const values = async (query: string): Promise<number[]> => {
        const { result } = await ask<{ result: { value: [number, string] }[] }>('query', { query })
        return result.map(({ value }) => Number(value[1]))
      }

      await eventually(async () => {
        const looks = await values('count_over_time(session_pgsql_operation_active[1m])')
        expect(looks.filter((count) => count > 1)).toHaveLength(ports.length)
      })
      fail()
      await eventually(async () => {
        const { alerts } = await ask<{ alerts: { state: string; labels: { alertname: string } }[] }>('alerts')
        const firing = alerts.filter(({ state }) => state === 'firing')
        const names = new Set(firing.map(({ labels }) => labels.alertname))
        expect([...names].sort()).toEqual(['SessionBackgroundErrors', 'SessionGcFails'])
      })

      let isOver = false
      const going = (async () => {
        while (!isOver) await traffic().then(() => sleep(100))
      })()
      onTestFinished(async () => {
        isOver = true
        await going
      })
      const expressions = [...panelExpressions(), ...alertExpressions().map(withoutLimit)].map((expression) =>
        expression.replaceAll('$job', 'session-.*').replaceAll('$__rate_interval', '10s'),
      )
      await eventually(async () => {
        const empty: string[] = []
        for (const query of expressions) {
          if ((await values(query)).every(Number.isNaN)) empty.push(query)
        }
        expect(empty).toEqual([])
      })
      const { groups } = await ask<{ groups: { rules: { name: string; health: string }[] }[] }>('rules')
      const rules = groups.flatMap(({ rules }) => rules)
      expect(rules).toHaveLength(alertExpressions().length)
      expect(rules.filter(({ health }) => health !== 'ok')).toEqual([])
    })
  },
  ['postgres'],
)

interface Site {
  /** Where `GET /metrics` is answered. */
  readonly ports: readonly number[]
  /** Causes everything that is measured once. */
  traffic(): Promise<void>
  /** Publishes the failures that this test cannot cause. */
  fail(): void
}

/** Starts a gateway and a console on these servers, until the test ends. */
async function openSite(db: string[]): Promise<Site> {
  const sessions = new SaveHandler({ db, codec: 'php', idPattern: 'php', gcInterval: 0 })
  const metrics = new Metrics(sessions)
  const gateway = new Gateway({
    ...DEFAULTS,
    sessions,
    wireFormat: phpValues('php'),
    healthPort: 0,
    metrics,
    meter: metrics.meter,
  })
  const console = await startConsole({ sessions, port: 0, metrics: true })
  onTestFinished(async () => {
    await gateway.close()
    await console.close()
    await metrics.close()
    await sessions.close()
  })
  const { port, healthPort } = await gateway.listen()
  for (let n = 0; n < 8; n++) await sessions.write(`${n}`.repeat(26), {})
  const client = new Talk(port)
  onTestFinished(() => client.end())
  function fail(): void {
    const error = new Error()
    channel('session-pgsql:error').publish({ handler: sessions, error })
    const failed = { handler: sessions, server: 'a', at: performance.now(), error }
    channel('tracing:session-pgsql:gc:asyncEnd').publish(failed)
  }
  return {
    ports: [healthPort as number, console.port],
    async traffic() {
      const key = `PHPSESSID:${'k'.repeat(26)}`
      await client.ask('SET', `${key}_LOCK`, 'me', 'NX', 'PX', '5000')
      await client.ask('GET', key)
      await client.ask('SETEX', key, '100', 'n|i:1;')
      await client.ask('SETEX', key, 'soon', 'n|i:1;')
      await sessions.write('k'.repeat(26), {}, { lifetime: -1 }).catch(() => {})
      await client.ask('GET', key)
      const { session: base } = await sessions.write('g'.repeat(26), {})
      await sessions.destroy('g'.repeat(26))
      await sessions.write('g'.repeat(26), { late: true }, { base })
      await sessions.open()
      await sessions.gc()
      fail()
      channel('session-pgsql:broughtHome').publish({
        handler: sessions,
        from: 'a',
        to: 'b',
        outcome: 'brought',
      })
    },
    fail,
  }
}

/**
 * Starts a Prometheus with the alerts that scrapes these ports twice a second, until the test ends.
 *
 * @returns a function that requests a path of its API and returns the data
 */
async function startPrometheus(ports: readonly number[]) {
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-prometheus-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const config = {
    global: { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' },
    rule_files: [join(DOCS, 'alerts.yml')],
    scrape_configs: [
      {
        job_name: 'session-pgsql',
        static_configs: [{ targets: ports.map((port) => `127.0.0.1:${port}`) }],
      },
    ],
  }
  // YAML includes JSON.
  await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config))
  const port = await freePort()
  const program = await startProgram('prometheus', [
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ])
  onTestFinished(() => program.stop())
  await listening(port, program)
  return async <Data>(path: string, parameters: Record<string, string> = {}): Promise<Data> => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${parameters.query}: ${text}`)
    return JSON.parse(text).data
  }
}

interface Dashboard {
  readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[]
  readonly templating: { readonly list: readonly { readonly definition?: string }[] }
}

function dashboard(): Dashboard {
  return JSON.parse(docs('grafana-dashboard.json'))
}

function panelExpressions(): string[] {
  const expressions = dashboard().panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  expect(expressions.length).toBeGreaterThan(30)
  return expressions
}

function alertExpressions(): string[] {
  const text = docs('alerts.yml')
  const alerts = [...text.matchAll(/^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*))/gm)]
  expect(alerts).toHaveLength(text.split('- alert:').length - 1)
  return alerts.map(([, long, short]) => (long ?? short ?? '').trim())
}

/** Removes the threshold from an alert's expression, which has no value while all is well. */
function withoutLimit(alert: string): string {
  return alert.replace(' unless sum', ' and sum').replace(/ (?:==|>) [\d.]+$/gm, '')
}

/** Returns the metrics in a PromQL expression, and the labels that it selects and groups by. */
function namesIn(expression: string): { metrics: string[]; labels: string[] } {
  const labels: string[] = []
  const rest = expression
    .replaceAll(/\{(.*?)\}/g, (_, inside: string) => {
      labels.push(...labelsIn(inside))
      return ''
    })
    .replaceAll(/\bby \((.*?)\)/gs, (_, inside: string) => {
      labels.push(...inside.split(',').map((label) => label.trim()))
      return ''
    })
  return { metrics: rest.match(/\b(?:session_pgsql|db_client)_\w+/g) ?? [], labels }
}

function labelsIn(inside: string): string[] {
  return [...inside.matchAll(/(\w+)(?:=|!=)~?"/g)].map(([, label]) => label as string)
}
