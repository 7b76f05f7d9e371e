/**
 * Returns the session of a request, and the request's parameters. With the parameter `wait` it lets requests overlap: it
 * reads the session, and waits for so many milliseconds, or until PAUSE_URL answers, which the tests set.
 */
export async function begin({ session, url }) {
  const { wait, ...query } = Object.fromEntries(url.searchParams)
  if (wait !== undefined) {
    await session.keys()
    const { PAUSE_URL } = process.env
    await (PAUSE_URL ? fetch(PAUSE_URL + wait) : new Promise((done) => setTimeout(done, Number(wait))))
  }
  return { session, ...query }
}
