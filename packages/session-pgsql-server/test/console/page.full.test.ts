import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { groupLines, groups } from '../../page/src/groups.ts'
import { columns } from '../../page/src/series.ts'
import type { HistoryPoint } from '../../src/console/api.ts'
import { accessibilityProblems, describeInBrowser } from './browser.ts'
import { startDemoConsole } from './demo-console.ts'
import { demoHistory } from './demo-data.ts'

/** The page alone, with made-up data that covers all cases. console.test.ts tests it with the real console. */

const DEVICES = [
  { device: 'desktop', colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  { device: 'phone', colorScheme: 'dark', viewport: { width: 360, height: 740 } },
] as const

/**
 * Runs in the page: finds the triangles of a colour at the upper edge of the first chart and returns the x coordinate of
 * each one's centre, from left to right.
 */
const TRIANGLES_IN = `(name) => {
  const canvas = document.querySelector('canvas')
  const probe = document.createElement('canvas').getContext('2d')
  probe.fillStyle = getComputedStyle(canvas).getPropertyValue(name).trim()
  probe.fillRect(0, 0, 1, 1)
  const colour = probe.getImageData(0, 0, 1, 1).data
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, Math.ceil(canvas.height / 5))
  const columns = new Set()
  for (let at = 0; at < data.length; at += 4) {
    if (colour.every((part, index) => data[at + index] === part)) columns.add((at / 4) % canvas.width)
  }
  const groups = []
  for (const x of [...columns].sort((a, b) => a - b)) {
    const group = groups.at(-1)
    if (group !== undefined && x - group.at(-1) <= 2) group.push(x)
    else groups.push([x])
  }
  return groups.filter((group) => group.length >= 4).map((group) => (group[0] + group.at(-1)) / 2)
}`

describeInBrowser('the page', (browser) => {
  // The browser warns because the tests read pixels of the canvas.
  browser.allow(/willReadFrequently/)
  let demo: Awaited<ReturnType<typeof startDemoConsole>>
  let locked: Awaited<ReturnType<typeof startDemoConsole>>
  beforeAll(async () => {
    demo = await startDemoConsole()
    locked = await startDemoConsole({ me: { signedIn: false, signInWith: 'password' } })
  })
  afterAll(() => {
    demo.stop()
    locked.stop()
  })

  const pages: Readonly<Record<string, (page: Page) => Promise<unknown>>> = {
    overview: async (page) => {
      await page.goto(demo.url)
      await page.locator('.server').first().waitFor()
      await page.locator('canvas').nth(3).waitFor()
      await page.locator('.chart summary').first().click()
      await page.getByRole('heading', { name: 'Upcoming expirations' }).waitFor()
    },
    'by cookie name': async (page) => {
      await page.goto(demo.url)
      await page.getByRole('radio', { name: 'by cookie name' }).check()
      await page.locator('canvas').nth(5).waitFor()
      await page.locator('.chart summary').first().click()
    },
    sessions: async (page) => {
      await page.goto(`${demo.url}#/sessions`)
      await page.getByRole('checkbox', { name: 'Select all on this page' }).check()
    },
    'an empty search': async (page) => {
      await page.goto(`${demo.url}#/sessions?by=field&q=nobody`)
      await page.getByText('No sessions match the search.').waitFor()
    },
    session: async (page) => {
      await page.goto(`${demo.url}#/sessions`)
      await page.locator('a.id').nth(2).click()
      await page.getByRole('button', { name: 'Show data' }).click()
      await page.locator('.tree').waitFor()
    },
    'the confirmation dialog': async (page) => {
      await page.goto(`${demo.url}#/sessions`)
      await page.getByRole('checkbox', { name: 'Select all on this page' }).check()
      await page.getByRole('button', { name: 'End selected (50)' }).click()
      await page.getByRole('dialog').waitFor()
    },
    'audit log': async (page) => {
      await page.goto(`${demo.url}#/audit`)
      await page.getByText('Ended by field').waitFor()
    },
    'sign in': async (page) => {
      await page.goto(locked.url)
      await page.getByLabel('Password').waitFor()
    },
  }
  for (const [name, go] of Object.entries(pages)) {
    test.each(DEVICES)(
      `${name} has no accessibility problem and no horizontal overflow: $device, $colorScheme`,
      async (device) => {
        const page = await browser.page(device)
        await go(page)
        expect(await accessibilityProblems(page)).toEqual([])
        const wider = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
        expect(wider).toBeLessThanOrEqual(0)
        await page.context().close()
      },
    )
  }

  test('focuses the search on /, and is usable by keyboard', async () => {
    const page = await browser.page()
    await page.goto(demo.url)
    await page.locator('.server').first().waitFor()
    await page.keyboard.press('/')
    const search = page.getByRole('searchbox')
    await search.waitFor()
    await until(() => page.evaluate('document.activeElement.id === "search"'), 'the search has the focus')
    await page.getByLabel('Search by').selectOption('field')
    await search.focus()
    await page.keyboard.type('ada@example.org')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'End all sessions with this field' }).waitFor()
    expect(page.url()).toContain('q=ada%40example.org')

    // A slash inside a text field is text.
    await search.focus()
    await page.keyboard.press('End')
    await page.keyboard.type('/')
    expect(await search.inputValue()).toBe('ada@example.org/')

    await page.getByRole('button', { name: 'End all sessions with this field' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.waitFor()
    for (let presses = 0; presses < 6; presses++) {
      expect(
        await page.evaluate(
          'document.activeElement === document.body || !!document.activeElement.closest("dialog")',
        ),
      ).toBe(true)
      await page.keyboard.press('Tab')
    }
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    await until(
      () => page.evaluate('document.activeElement.textContent === "End all sessions with this field"'),
      'the button has the focus again',
    )
    await page.context().close()
  })

  test('keeps the chosen theme', async () => {
    const page = await browser.page({ colorScheme: 'dark' })
    await page.goto(demo.url)
    const theme = () => page.evaluate('document.documentElement.dataset.theme')
    expect(await theme()).toBe('dark')
    await page.getByRole('button', { name: 'Switch to light theme' }).click()
    expect(await theme()).toBe('light')
    await page.reload()
    await page.getByRole('button', { name: 'Switch to dark theme' }).waitFor()
    expect(await theme()).toBe('light')
    await page.context().close()
  })

  const trianglesIn = (page: Page, colour: string): Promise<number[]> =>
    page.evaluate(`(${TRIANGLES_IN})('${colour}')`)

  test('draws each kind of annotation in its colour, with its text, also from before the first point', async () => {
    const expected = [
      {
        minutes: 55,
        kind: 'promoted',
        text: 'The primary of db2 changed from 10.0.0.12:5432 to 10.0.0.22:5432.',
      },
      { minutes: 45, kind: 'failover', text: 'Sessions failed over from db3 to db1.' },
      { minutes: 35, kind: 'broughtHome', text: '143 sessions moved back from db1 to db3.' },
      { minutes: 25, kind: 'gc', text: 'GC removed 812 sessions on db2.' },
      { minutes: 15, kind: 'serverDown', text: 'db3 is not responding (SERVER_DOWN).' },
      { minutes: 5, kind: 'consoleStarted', text: 'The console started.' },
    ] as const
    // The console has points of only twenty minutes.
    const history = (now: number) => ({
      points: demoHistory(now, 20).points,
      annotations: expected.map(({ minutes, ...annotation }) => ({
        ...annotation,
        at: new Date(now - minutes * 60_000).toISOString(),
      })),
    })
    const annotated = await startDemoConsole({ history })
    try {
      const page = await browser.page()
      await page.goto(annotated.url)
      await page.locator('canvas').nth(3).waitFor()
      const texts = page.locator('.events li > span:not(.muted)')
      await until(async () => (await texts.count()) === expected.length, 'all annotations as texts')
      expect(await texts.allTextContents()).toEqual(expected.map(({ text }) => text).toReversed())

      const drawn = async () => ({
        bad: await trianglesIn(page, '--bad'),
        good: await trianglesIn(page, '--good'),
        muted: await trianglesIn(page, '--muted'),
      })
      const { bad, good, muted } = await until(async () => {
        const found = await drawn()
        return found.good.length === 3 ? found : undefined
      }, 'the annotations in the chart')
      expect([bad.length, good.length, muted.length]).toEqual([2, 3, 1])
      const [promoted = 0, movedBack = 0, started = 0] = good
      // The distances are proportional to the times.
      const pixels = (started - promoted) / 50
      const minutesAgo = (x: number): number => 5 + (started - x) / pixels
      for (const [x, minutes] of [
        [bad[0], 45],
        [movedBack, 35],
        [muted[0], 25],
        [bad[1], 15],
      ] as const) {
        expect(Math.abs(minutesAgo(x ?? 0) - minutes)).toBeLessThan(0.5)
      }

      // Hovering shows the text.
      const over = page.locator('.chart').first().locator('.u-over')
      const box = await over.boundingBox()
      const canvas = await page.locator('canvas').first().boundingBox()
      if (box === null || canvas === null) throw new Error('There is no chart.')
      const all = [promoted, bad[0], movedBack, muted[0], bad[1], started]
      for (const [index, x] of all.entries()) {
        await page.mouse.move(canvas.x + (x ?? 0), box.y + box.height / 2)
        await page
          .locator('.legend-annotation')
          .first()
          .getByText(expected[index]?.text ?? '')
          .waitFor()
      }
      await page.context().close()
    } finally {
      annotated.stop()
    }
  })

  test('offers no actions to readers', async () => {
    const reader = await startDemoConsole({ me: { signedIn: true, role: 'reader', signInWith: 'password' } })
    try {
      const page = await browser.page()
      await page.goto(`${reader.url}#/sessions`)
      await page.locator('a.id').first().waitFor()
      expect(await page.getByRole('checkbox').count()).toBe(0)
      expect(await page.getByRole('button', { name: /End/ }).count()).toBe(0)
      await page.locator('a.id').first().click()
      await page.getByRole('heading', { name: 'Details' }).waitFor()
      expect(await page.getByRole('button', { name: /End/ }).count()).toBe(0)
      await page.goto(reader.url)
      await page.getByRole('heading', { name: 'Garbage collection' }).waitFor()
      expect(await page.getByRole('button', { name: 'Run GC' }).count()).toBe(0)
      await page.context().close()
    } finally {
      reader.stop()
    }
  })

  test('marks estimates of large tables, but not the counts of PostgreSQL', async () => {
    const large = await startDemoConsole({ large: true })
    try {
      const page = await browser.page()
      await page.goto(large.url)
      const cells = async (table: string, row: string) => {
        const found = page
          .getByRole('region', { name: `${table}, in the last hour` })
          .getByRole('row', { name: row })
        return (await found.locator('td').allTextContents()).map((text) => text.startsWith('≈'))
      }
      await page.getByRole('heading', { name: 'By server' }).waitFor()
      // Active sessions, created, ended, accesses, errors, warnings.
      expect(await cells('By cookie name', 'PHPSESSID')).toEqual([true, true, true, true, true, true])
      expect(await cells('By server', 'db1')).toEqual([true, false, false, false, true, true])
      const metric = (name: string) =>
        page.locator('.key-metric', { hasText: name }).locator('.big').textContent()
      expect(await metric('Errors')).toMatch(/^≈ \d/)
      expect(await metric('Created')).toMatch(/^\d/)
      const chart = (title: string) =>
        page.getByRole('img', { name: `Chart: ${title}` }).getAttribute('aria-label')
      expect(await chart('Errors and warnings')).toContain('errors: ≈ ')
      expect(await chart('Accesses')).not.toContain('≈')
      await page.getByRole('radio', { name: 'by cookie name' }).check()
      expect(await chart('Accesses')).toContain('PHPSESSID: ≈ ')
      await page.context().close()
    } finally {
      large.stop()
    }
  })

  test('names the age of a new console instead of the time range', async () => {
    const young = await startDemoConsole({
      history: (now, minutes) => {
        const { points, annotations } = demoHistory(now, minutes)
        return { points: points.slice(-2), annotations }
      },
    })
    try {
      const page = await browser.page()
      await page.goto(young.url)
      const created = page.locator('.key-metric', { hasText: 'Created' })
      // Two points of 20 seconds; the live stream adds others.
      await created.getByText(/^since the console started, 4\d s ago$/).waitFor()
      await page.getByRole('region', { name: 'By cookie name, since the console started' }).waitFor()
      await page.goto(demo.url)
      await created.getByText('in the last hour', { exact: true }).waitFor()
      await page.context().close()
    } finally {
      young.stop()
    }
  })

  test('shows the next and the previous page', async () => {
    const page = await browser.page()
    await page.goto(`${demo.url}#/sessions`)
    await page.getByText('1 to 50 of 240').waitFor()
    const first = await page.locator('a.id').first().textContent()
    await page.getByRole('button', { name: 'Next' }).click()
    await page.getByText('51 to 100 of 240').waitFor()
    expect(await page.locator('a.id').first().textContent()).not.toBe(first)
    await page.getByRole('button', { name: 'Previous' }).click()
    await page.getByText('1 to 50 of 240').waitFor()
    expect(await page.locator('a.id').first().textContent()).toBe(first)
    await page.context().close()
  })
})

describe('groups', () => {
  const { points } = demoHistory(Date.UTC(2026, 0, 1), 60)
  const many = points.map((point, index) => ({
    ...point,
    perName: Array.from({ length: 9 }, (_, n) => ({
      ...{ name: `site${n}`, sessions: n * 10, created: n, ended: 0, accesses: 1, errors: 0, warnings: 0 },
      // One without sessions in the end, and one that is always empty.
      ...(n === 8 && index > 90 ? { sessions: 0 } : {}),
      ...(n === 0 ? { created: 0, accesses: 0 } : {}),
    })),
  }))

  test('have the last number of sessions and the sums of the other metrics; empty ones are omitted', () => {
    const found = groups(many, 'name')
    expect(found.map(({ name }) => name)).toEqual([7, 6, 5, 4, 3, 2, 1, 8].map((n) => `site${n}`))
    expect(found.at(-1)).toMatchObject({ sessions: 0, created: 8 * points.length, errors: 0 })
    const servers = groups(points, 'server')
    expect(servers.map(({ name }) => name).sort()).toEqual(['db1', 'db2', 'db3'])
    expect(servers.find(({ name }) => name === 'db3')?.sessions).toBeNull()
  })

  test('have lines sorted by name for those with the most sessions, and one line for the others', () => {
    const lines = groupLines(many, 'name', 6)
    expect(lines.map(({ label }) => label)).toEqual(['site3', 'site4', 'site5', 'site6', 'site7', '3 others'])
    const [first] = many as [(typeof many)[number]]
    expect(lines.map(({ of }) => of(first, 'created'))).toEqual([3, 4, 5, 6, 7, 1 + 2 + 8])
    expect(groupLines(many, 'name', 8)).toHaveLength(8)
  })

  test('have 0 for a name without rows, and null for a server that is down', () => {
    const [rare] = groupLines(points, 'name', 6)
    expect(rare?.of({ ...(points[3] as HistoryPoint), perName: [] }, 'accesses')).toBe(0)
    const down = groupLines(points, 'server', 6).find(({ label }) => label === 'db3')
    expect(down?.of(points.at(-1) as HistoryPoint, 'sessions')).toBeNull()
    expect(down?.of(points[0] as HistoryPoint, 'sessions')).toBeGreaterThan(0)
  })
})

describe('the columns of a chart', () => {
  const { points } = demoHistory(Date.UTC(2026, 0, 1), 60)
  const perMinute = { of: (point: (typeof points)[number]) => point.created, as: 'perMinute' } as const

  test('are at most as many as requested, and average over all points', () => {
    const all = columns(points, [perMinute])
    const few = columns(points, [perMinute], 20)
    expect(all.x).toHaveLength(points.length)
    expect(few.x.length).toBeLessThanOrEqual(21)
    expect(few.x.at(-1)).toBe(all.x.at(-1))
    // An average lies between the extremes.
    const of = (line: readonly (number | null)[] | undefined) => line?.map((value) => value ?? 0) ?? []
    const [highest, lowest] = [Math.max(...of(all.lines[0])), Math.min(...of(all.lines[0]))]
    for (const value of of(few.lines[0])) {
      expect(value).toBeGreaterThan(lowest)
      expect(value).toBeLessThan(highest)
    }
  })

  test('have a gap, not a zero, where values are unknown', () => {
    const cut = points.map((point, index) =>
      index >= 30 && index < 60 ? { ...point, created: null } : point,
    )
    const { lines } = columns(cut, [perMinute], 30)
    expect(lines[0]?.filter((value) => value === null).length).toBeGreaterThanOrEqual(4)
    expect(lines[0]).not.toContain(0)
  })
})
