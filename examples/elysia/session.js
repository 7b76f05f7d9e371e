import { Elysia } from 'elysia'

/** A plugin of Elysia: `session` in each handler, which is committed before the response. */
export function session(sessions) {
  return new Elysia({ name: 'session' })
    .derive({ as: 'global' }, async ({ request, server }) => ({
      session: await sessions.session(request, { address: server?.requestIP(request)?.address }),
    }))
    .onAfterHandle({ as: 'global' }, async ({ session, set }) => {
      const cookie = await session.commit()
      if (cookie) set.headers['set-cookie'] = cookie.header
    })
}
