import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createSessions, type WebSession } from '../../src/adapters/web.ts'
import { describeOnEveryServer } from '../support/servers.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/web.md'), 'utf8')

interface Event {
  request: Request
  locals: { session?: WebSession<Record<string, unknown>> }
  getClientAddress(): string
}

type Handle = (input: { event: Event; resolve(event: Event): Promise<Response> }) => Promise<Response>

/** The hook as it stands in docs/web.md; what it imports is given to it. */
function hookOf(db: unknown): { handle: Handle; close(): Promise<void> } {
  const [, code] = /src\/hooks\.server\.js`:\n\n```js\n([\s\S]*?)```/.exec(page) ?? []
  const body = (code as string)
    .replaceAll(/^import .*\n/gm, '')
    .replace('export async function handle', 'async function handle')
  const env = { SESSION_PGSQL_DB: db, SESSION_SECRET: 'a secret for the tests' }
  const made = new Function('createSessions', 'env', `${body}\nreturn { handle, sessions }`)(
    createSessions,
    env,
  )
  return { handle: made.handle, close: () => made.sessions.close() }
}

describeOnEveryServer("SvelteKit's hook in docs/web.md", (server) => {
  test('gives each request its session, and the browser its cookie when there is one', async () => {
    const { handle, close } = hookOf((await server.freshDatabase()).db)
    const visit = async (
      cookie: string | undefined,
      page: (session: WebSession<Record<string, unknown>>) => string,
    ) => {
      const event: Event = {
        request: new Request('https://example.org/', { headers: cookie ? { cookie } : {} }),
        locals: {},
        getClientAddress: () => '203.0.113.7',
      }
      const response = await handle({
        event,
        resolve: async ({ locals }) =>
          new Response(page(locals.session as WebSession<Record<string, unknown>>), {
            headers: { 'set-cookie': 'other=1' },
          }),
      })
      const [, given] = response.headers.getSetCookie()
      return { given, text: await response.text() }
    }
    try {
      const show = (session: WebSession<Record<string, unknown>>): string => String(session.get('user'))
      expect(await visit(undefined, show)).toEqual({ given: undefined, text: 'undefined' })
      const signedIn = await visit(undefined, (session) => {
        session.regenerate()
        session.set('user', 'ada')
        return 'welcome'
      })
      expect(signedIn.given).toMatch(/; HttpOnly; SameSite=Lax; Max-Age=\d+; Secure$/)
      const cookie = signedIn.given?.split(';')[0]
      expect(await visit(cookie, show)).toEqual({ given: undefined, text: 'ada' })
      const out = await visit(cookie, (session) => {
        session.destroy()
        return 'bye'
      })
      expect(out.given).toMatch(/Max-Age=0|Expires=Thu, 01 Jan 1970/)
      expect((await visit(cookie, show)).text).toBe('undefined')
    } finally {
      await close()
    }
  })
})
