import { sessions } from './sessions.js'

/**
 * Returns the session of a request to a route handler, and the request's parameters. With the parameter `wait` it lets
 * requests overlap: it waits for so many milliseconds, or until PAUSE_URL answers, which the tests set.
 */
export async function begin(request) {
  const session = await sessions.session()
  const { wait, ...query } = Object.fromEntries(request.nextUrl.searchParams)
  if (wait !== undefined) {
    const { PAUSE_URL } = process.env
    await (PAUSE_URL ? fetch(PAUSE_URL + wait) : new Promise((done) => setTimeout(done, Number(wait))))
  }
  return { session, ...query }
}
