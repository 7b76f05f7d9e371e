import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { EXAMPLES } from './example-process.ts'
import { conformanceSite, describeOneCommand, type Visit } from './one-command.ts'

/**
 * Other files start these, because they need more than this Node.js, or because they are built: those of `adapters/` and
 * of the server package, and `shop.full.test.ts`.
 */
const ELSEWHERE = ['adonis', 'astro', 'elysia', 'next', 'php-and-node', 'shop', 'sveltekit', 'tanstack-start']

const account = { name: 'Ada', email: 'ada@example.org', password: 'a long password' }

const VISITS: Record<string, Visit> = {
  'better-auth': {
    store: (browser) => browser.send('POST', '/api/auth/sign-up/email', account),
    page: '/api/auth/get-session',
    shows: 'ada@example.org',
  },
  demo: {
    store: (browser) => browser.send('POST', '/sign-in', new URLSearchParams({ user: 'lovelace' })),
    page: '/',
    shows: 'lovelace',
  },
  fastify: conformanceSite,
  h3: conformanceSite,
  hono: conformanceSite,
  koa: conformanceSite,
  nestjs: conformanceSite,
  'react-router': conformanceSite,
  'socket.io': conformanceSite,
  unstorage: {
    async store(browser) {
      await browser.send('POST', '/sign-in?user=ada')
      await browser.send('PUT', '/color', 'blue')
    },
    page: '/color',
    shows: 'blue',
    isPublic: true,
  },
  web: conformanceSite,
}

test('tests every example', () => {
  const examples = readdirSync(EXAMPLES)
  expect([...Object.keys(VISITS), ...ELSEWHERE].sort()).toEqual(examples.sort())
})

for (const [name, visit] of Object.entries(VISITS)) describeOneCommand(name, visit)
