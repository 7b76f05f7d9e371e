import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EVENTS, tracing } from '../../src/diagnostics.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/metrics.md'), 'utf8')

test('every diagnostics channel is in the tables, and nothing else is', () => {
  const named = [...page.matchAll(/^\| `session-pgsql:(\w+)` \|/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual([...Object.keys(tracing), 'queued', ...EVENTS].sort())
})
