import { createMiddleware, createStart } from '@tanstack/react-start'
import { sessions } from './sessions.js'

/** `context.session` in each server route and server function, which is committed before the response. */
const session = createMiddleware().server(async ({ next, request }) => {
  const session = await sessions.session(request)
  const result = await next({ context: { session } })
  const cookie = await session.commit()
  if (cookie) result.response.headers.append('set-cookie', cookie.header)
  return result
})

export const startInstance = createStart(() => ({ requestMiddleware: [session] }))
