import type { ListOptions, SaveHandler, SessionPage } from '../../index.ts'

/** The number of sessions in a page. */
const LENGTH = 1000

/** Returns all sessions that the filter selects, page by page, without their data. */
export async function* sessionPages<Data>(
  sessions: SaveHandler<Data>,
  filter: ListOptions,
): AsyncGenerator<SessionPage> {
  let after: string | undefined
  do {
    const page = await sessions.list({ ...filter, after, limit: LENGTH })
    yield page
    after = page.next
  } while (after !== undefined)
}

/** Returns the ids of all sessions that the filter selects, page by page. */
export async function* idPages<Data>(
  sessions: SaveHandler<Data>,
  filter: ListOptions,
): AsyncGenerator<string[]> {
  for await (const page of sessionPages(sessions, filter)) yield page.map(({ id }) => id)
}
