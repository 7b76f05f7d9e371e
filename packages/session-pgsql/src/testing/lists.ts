import { deepEqual, equal, ok } from 'node:assert/strict'
import type { Browser } from './browser.ts'
import { type Case, NotOffered } from './case.ts'
import { type CaseRun, unique } from './case-run.ts'
import { overlap } from './overlap.ts'

/** Overlapping requests lose nothing inside of values either: lists, their elements, and objects. */
export const listCases: readonly Case[] = [
  {
    id: 'list-added',
    sentence: 'Two overlapping requests that add to one list keep both elements.',
    async check(run) {
      const browser = await withValue(run, 'basket', ['apple'])
      const { basket } = await overlap(run, browser, add('basket', 'pear'), add('basket', 'plum'))
      deepEqual(sorted(basket), ['apple', 'pear', 'plum'])
    },
  },
  {
    id: 'list-begun',
    sentence: 'Two overlapping requests that both begin the same list keep both elements.',
    async check(run) {
      const browser = await withValue(run, 'color', 'blue')
      const { messages } = await overlap(run, browser, add('messages', 'saved'), add('messages', 'sent'))
      deepEqual(sorted(messages), ['saved', 'sent'])
    },
  },
  {
    id: 'list-removed',
    sentence: 'An element that one request removes stays removed when a slower request adds another.',
    async check(run) {
      const browser = await withValue(run, 'basket', ['apple', 'pear'])
      const { basket } = await overlap(run, browser, add('basket', 'plum'), remove('basket', '0'))
      deepEqual(basket, ['pear', 'plum'])
    },
  },
  {
    id: 'list-removed-last',
    sentence: 'A slower request that removes an element keeps what another has added.',
    async check(run) {
      const browser = await withValue(run, 'basket', ['apple', 'pear'])
      const { basket } = await overlap(run, browser, remove('basket', '0'), add('basket', 'plum'))
      deepEqual(basket, ['pear', 'plum'])
    },
  },
  {
    id: 'list-emptied',
    sentence:
      'Messages that one request has shown and removed do not return with the message of a slower one.',
    async check(run) {
      const browser = await withValue(run, 'messages', ['saved'])
      const { messages } = await overlap(run, browser, add('messages', 'sent'), assign('messages', []))
      deepEqual(messages, ['sent'])
    },
  },
  {
    id: 'list-deleted',
    sentence: 'A list that one request deletes is not restored by a slower one that adds to it.',
    async check(run) {
      const browser = await withValue(run, 'roles', ['editor'])
      const data = await overlap(run, browser, add('roles', 'admin'), '/delete?key=roles')
      equal('roles' in data, false)
    },
  },
  {
    id: 'list-elements',
    sentence: 'Two overlapping requests that change two elements of one list keep both changes.',
    async check(run) {
      const browser = await withValue(run, 'basket', [
        { id: 1, count: 1 },
        { id: 2, count: 1 },
      ])
      const { basket } = await overlap(
        run,
        browser,
        assign('basket', 5, '0/count'),
        assign('basket', 7, '1/count'),
      )
      deepEqual(basket, [
        { id: 1, count: 5 },
        { id: 2, count: 7 },
      ])
    },
  },
  {
    id: 'two-fields',
    sentence: 'Two overlapping requests that change two fields of one object keep both changes.',
    async check(run) {
      const browser = await withValue(run, 'settings', { theme: 'light', size: 1 })
      const { settings } = await overlap(
        run,
        browser,
        assign('settings', 'dark', 'theme'),
        assign('settings', 2, 'size'),
      )
      deepEqual(settings, { theme: 'dark', size: 2 })
    },
  },
  {
    id: 'two-users',
    sentence: 'Two overlapping logins as different users give one of them, and never a mixture of both.',
    async check(run) {
      const browser = await withValue(run, 'color', 'blue')
      const admin = { id: 1, name: 'admin', superuser: true }
      const guest = { id: 2, name: 'guest' }
      const { account } = await overlap(run, browser, assign('account', guest), assign('account', admin))
      deepEqual(account, (account as { id?: unknown } | undefined)?.id === 1 ? admin : guest)
    },
  },
]

/** An atomic update, which a merge cannot replace: it cannot tell what a request has computed from what. */
export const updateCases: readonly Case[] = [
  {
    id: 'counter',
    sentence:
      'Twenty overlapping requests that count with an atomic update and set a key each get their own number, and keep all keys.',
    async check(run) {
      const browser = await counting(run)
      const { url } = await run.start()
      const keys = Array.from({ length: 20 }, (_, index) => `k${index}`)
      const finishing: Awaited<ReturnType<CaseRun['hold']>>[] = []
      for (const [index, key] of keys.entries()) {
        const at = browser.clone(index % 2 === 0 ? browser.url : url)
        finishing.push(await run.hold(at, `/count?key=visits&also=${key}`))
      }
      const answers = await Promise.all(finishing.map((finish) => finish()))
      const numbers = answers.map(({ text }) => Number(text)).toSorted((one, other) => one - other)
      deepEqual(
        numbers,
        keys.map((_, index) => index + 2),
      )
      const data = await browser.read()
      equal(Number(data.visits), 21)
      for (const key of keys) equal(data[key], '1')
    },
  },
  {
    id: 'counter-ended',
    sentence: 'An atomic update in progress at the logout does not restore the session.',
    async check(run) {
      const browser = await counting(run)
      const before = browser.clone()
      const finish = await run.hold(browser.clone(), '/count?key=visits&also=late')
      await browser.post('/sign-out')
      await finish()
      deepEqual(await before.read(), {})
    },
  },
]

function add(key: string, element: string): string {
  return assign(key, element, '-')
}

function assign(key: string, value: unknown, path = ''): string {
  return `/edit?key=${key}&path=${path}&value=${encodeURIComponent(JSON.stringify(value))}`
}

function remove(key: string, path: string): string {
  return `/edit?key=${key}&path=${path}`
}

/** Returns the browser of a user whose session has this value. */
async function withValue(run: CaseRun, key: string, value: unknown): Promise<Browser> {
  const { browser } = await run.signIn()
  await demand(browser, assign(key, value))
  return browser
}

/** Returns the browser of a user whose session has counted once. */
async function counting(run: CaseRun): Promise<Browser> {
  const { browser } = await run.signIn()
  equal(await demand(browser, `/count?key=visits&also=${unique()}`), '1')
  return browser
}

/** Sends a request of a route that a site need not have. */
async function demand(browser: Browser, path: string): Promise<string> {
  const { status, text } = await browser.send('POST', path)
  if (status === 404) throw new NotOffered(`route POST ${path.replace(/\?.*/, '')}`)
  ok(status < 400, `POST ${path}: ${status} ${text}`)
  return text
}

function sorted(list: unknown): unknown {
  return Array.isArray(list) ? list.toSorted() : list
}
