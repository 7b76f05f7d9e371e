import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { expect, test } from 'vitest'
import { recordMetrics } from '../../src/adapters/opentelemetry.ts'
import { EVENTS, tracing } from '../../src/diagnostics.ts'
import { SaveHandler } from '../../src/index.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/metrics.md'), 'utf8')

test('the tables list exactly the diagnostics channels', () => {
  const named = [...page.matchAll(/^\| `session-pgsql:(\w+)` \|/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual([...Object.keys(tracing), 'queued', ...EVENTS].sort())
})

test('the table lists exactly the metrics, with unit and type', () => {
  const created: string[] = []
  const meter = new MeterProvider().getMeter('test')
  // The real meter, with its calls recorded.
  const recording = new Proxy(meter, {
    get(target, method: keyof typeof meter & string) {
      const create = target[method] as (...given: unknown[]) => unknown
      const type = { createHistogram: 'histogram', createCounter: 'counter' }[method as string] ?? 'gauge'
      return (...given: unknown[]) => {
        if (method.startsWith('create'))
          created.push(`${given[0]} ${(given[1] as { unit: string }).unit} ${type}`)
        return create.apply(target, given)
      }
    },
  })
  recordMetrics(new SaveHandler({ db: 'host=localhost' }), { getMeter: () => recording })()
  const own = page.slice(0, page.indexOf('## Prometheus'))
  const rows = [...own.matchAll(/^\| `([a-z_.]+)` \| (\S+) \| (histogram|counter|gauge) \|/gm)]
  expect(rows.map(([, name, unit, type]) => `${name} ${unit} ${type}`).sort()).toEqual(created.sort())
})
