import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { describeOnEveryServer } from '../../../session-pgsql/test/support/servers.ts'
import { Console } from '../../src/console/console.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { valuesOf } from '../../src/gateway/php-side.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { Talk } from '../gateway/talk.ts'

const docs = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../../../docs', name), 'utf8')

describeOnEveryServer(
  'what is in docs/, held against the endpoint',
  (server) => {
    test('dashboard, alerts and tables name the metrics and labels that there are', async () => {
      const output = await everything([
        (await server.freshDatabase()).db as string,
        (await server.freshDatabase()).db as string,
      ])
      const samples = [...output.matchAll(/^([a-z]\w*)(?:\{(.*)\})? /gm)]
      const metrics = new Set(samples.map(([, name]) => name as string))
      const labels = new Set(samples.flatMap(([, , inside = '']) => labelsIn(inside)))
      for (const label of ['job', 'instance', 'le']) labels.add(label)

      const dashboard = expressionsOf(JSON.parse(docs('grafana-dashboard.json')))
      const alerts = [...docs('alerts.yml').matchAll(/^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*))/gm)]
      const expressions = [...dashboard, ...alerts.map(([, long, short]) => long ?? short ?? '')]
      expect(dashboard.length).toBeGreaterThan(30)
      expect(alerts).toHaveLength(docs('alerts.yml').split('- alert:').length - 1)
      for (const expression of expressions) {
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
      // Of a standby, and this server has none.
      metrics.add('session_pgsql_standby_lag')
      expect(documented.sort()).toEqual([...metrics].filter((name) => !parts.test(name)).sort())
    })
  },
  ['postgres'],
)

/** The endpoint's output after everything has happened once. */
async function everything(db: string[]): Promise<string> {
  const sessions = new SaveHandler({ db, codec: 'php', idPattern: 'php', gcInterval: 0 })
  const metrics = new Metrics(sessions)
  const gateway = new Gateway({
    sessions,
    php: valuesOf('php'),
    host: '127.0.0.1',
    port: 0,
    password: undefined,
    tls: undefined,
    maxConnections: 10,
    maxValue: 100_000,
    idleTimeout: 0,
    healthPort: 0,
    metrics,
  })
  const { port, healthPort } = await gateway.listen()
  const console = new Console({
    sessions,
    host: '127.0.0.1',
    port: 0,
    passwords: undefined,
    names: [],
    trustProxy: false,
    tls: undefined,
    metrics: true,
    auditFile: undefined,
    log: () => {},
  })
  for (let n = 0; n < 8; n++) await sessions.write(`${n}`.repeat(26), {})
  const consolePort = await console.listen()
  const client = new Talk(port)
  try {
    const key = `PHPSESSID:${'k'.repeat(26)}`
    await client.ask('SET', `${key}_LOCK`, 'me', 'NX', 'PX', '5000')
    await client.ask('SETEX', key, '100', 'n|i:1;')
    await client.ask('SETEX', key, 'soon', 'n|i:1;')
    await sessions.write('k'.repeat(26), {}, { lifetime: -1 }).catch(() => {})
    await sessions.open()
    await sessions.gc()
    // What does not happen in a test that kills nothing.
    channel('session-pgsql:error').publish({ handler: sessions, error: new Error() })
    channel('session-pgsql:broughtHome').publish({
      handler: sessions,
      from: 'a',
      to: 'b',
      outcome: 'brought',
    })
    const outputs = [healthPort, consolePort].map(async (at) =>
      (await fetch(`http://127.0.0.1:${at}/metrics`)).text(),
    )
    return (await Promise.all(outputs)).join('')
  } finally {
    client.end()
    await gateway.close()
    await console.close()
    await metrics.close()
    await sessions.close()
  }
}

/** Every PromQL expression of a dashboard, and of its variables. */
function expressionsOf(dashboard: {
  panels: { targets?: { expr: string }[] }[]
  templating: { list: { definition?: string }[] }
}): string[] {
  return [
    ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...dashboard.templating.list.flatMap(({ definition }) => definition ?? []),
  ]
}

/** The metrics in a PromQL expression, and the labels that it selects and groups by. */
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
