import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createSessions, type WebSession } from '../../src/adapters/web.ts'
import { describeOnEveryKind } from '../support/servers.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/web.md'), 'utf8')

interface Event {
  request: Request
  locals: { session?: WebSession<Record<string, unknown>> }
  getClientAddress(): string
}

type Handle = (input: { event: Event; resolve(event: Event): Promise<Response> }) => Promise<Response>

/** Returns the hook from the text of docs/web.md, with its imports passed in. */
function hookOf(db: unknown): { handle: Handle; close(): Promise<void> } {
  const [, code] = /src\/hooks\.server\.js`:\n\n```js\n([\s\S]*?)```/.exec(page) ?? []
  const body = (code as string).replaceAll(/^import .*\n/gm, '').replaceAll('export ', '')
  const hook = new Function(
    'createSessions',
    'DATABASE_URL',
    'SESSION_SECRET',
    `${body}\ninit()\nreturn { handle, sessions }`,
  )(createSessions, db, 'a secret for the tests')
  return { handle: hook.handle, close: () => hook.sessions.close() }
}

describeOnEveryKind("SvelteKit's hook in docs/web.md", (server) => {
  test('gives each request its session and sets the cookie of a stored one', async () => {
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
      const [, setCookie] = response.headers.getSetCookie()
      return { setCookie, text: await response.text() }
    }
    try {
      const show = (session: WebSession<Record<string, unknown>>): string => String(session.get('user'))
      expect(await visit(undefined, show)).toEqual({ setCookie: undefined, text: 'undefined' })
      const signedIn = await visit(undefined, (session) => {
        session.regenerate()
        session.set('user', 'ada')
        return 'signed in'
      })
      expect(signedIn.setCookie).toMatch(/; HttpOnly; SameSite=Lax; Max-Age=\d+; Secure$/)
      const cookie = signedIn.setCookie?.split(';')[0]
      expect(await visit(cookie, show)).toEqual({ setCookie: undefined, text: 'ada' })
      const out = await visit(cookie, (session) => {
        session.destroy()
        return 'signed out'
      })
      expect(out.setCookie).toMatch(/Max-Age=0|Expires=Thu, 01 Jan 1970/)
      expect((await visit(cookie, show)).text).toBe('undefined')
    } finally {
      await close()
    }
  })
})
