import type { ListOptions, SaveHandler } from '../../index.ts'

/** The number of ids in a page. */
const LENGTH = 1000

/** Returns the ids of all sessions that the filter selects, page by page. */
export async function* idPages<Data>(
  sessions: SaveHandler<Data>,
  filter: ListOptions,
): AsyncGenerator<string[]> {
  let after: string | undefined
  do {
    const page = await sessions.list({ ...filter, after, limit: LENGTH })
    yield page.map(({ id }) => id)
    after = page.next
  } while (after !== undefined)
}
