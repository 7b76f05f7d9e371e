import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectNamedTests } from './named-tests.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/security-review.md'), 'utf8')
const rows = [...page.matchAll(/^\| ([37]\.\d\.\d) \| ([123]) \| (.+) \| (.+) \| (.+) \|$/gm)]

/** The requirements of OWASP ASVS 5.0.0 in V7 and V3.3, and the level of each. */
const REQUIREMENTS = {
  ...{ '7.1.1': 2, '7.1.2': 2, '7.1.3': 2 },
  ...{ '7.2.1': 1, '7.2.2': 1, '7.2.3': 1, '7.2.4': 1 },
  ...{ '7.3.1': 2, '7.3.2': 2 },
  ...{ '7.4.1': 1, '7.4.2': 1, '7.4.3': 2, '7.4.4': 2, '7.4.5': 2 },
  ...{ '7.5.1': 2, '7.5.2': 2, '7.5.3': 3 },
  ...{ '7.6.1': 2, '7.6.2': 2 },
  ...{ '3.3.1': 1, '3.3.2': 2, '3.3.3': 2, '3.3.4': 2, '3.3.5': 3 },
}

test('the page has each requirement once, with its level', () => {
  expect(rows.map(([, number, level]) => [number, Number(level)])).toEqual(Object.entries(REQUIREMENTS))
})

test('each requirement says who meets it, and names tests and commands that exist', () => {
  for (const [, number, , , who = '', shown = ''] of rows) {
    expect([number, /\*\*(By default|With a setting|Application)\*\*/.test(who)]).toEqual([number, true])
    const { count, others } = expectNamedTests(shown)
    const commands = others.filter((other) =>
      /^`session-pgsql (doctor|status|destroy) --[a-z]+`$/.test(other),
    )
    const own = others.filter((other) => /^your (documentation|pages)$/.test(other))
    expect([number, commands.length + own.length]).toEqual([number, others.length])
    expect([number, count + others.length > 0]).toEqual([number, true])
    // Only what the application alone can meet has nothing here that shows it.
    if (own.length > 0) expect([number, who]).toEqual([number, '**Application**'])
  }
})
