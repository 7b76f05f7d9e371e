import { end, getCount } from './client.ts'
import { ask } from './components/ask.tsx'
import { plural } from './format.ts'
import { tell } from './state.ts'

/** How sessions are ended from here: what is asked, and what is told. */

export function askToEnd(ids: readonly string[], then: () => void): void {
  const [first] = ids
  if (first === undefined) return
  const one = ids.length === 1
  ask({
    title: one ? 'End this session?' : `End ${plural(ids.length, 'session')}?`,
    body: (
      <>
        <p>Whoever uses {one ? 'it' : 'them'} is signed out with the next request. That cannot be undone.</p>
        {one && <p class="id whole">{first}</p>}
      </>
    ),
    act: one ? 'End it' : `End ${plural(ids.length, 'session')}`,
    grave: true,
    run: async () => {
      const { ended } = await end({ ids })
      then()
      if (ended === ids.length) return `${plural(ended, 'session')} ended.`
      return one
        ? 'It was not there any more.'
        : `${plural(ended, 'session')} ended; the others were not there any more.`
    },
  })
}

/** All sessions of one user, where the field holds the user. Counts first. */
export async function askToEndField(field: string, then: () => void): Promise<void> {
  let count: number
  try {
    count = (await getCount(field)).count
  } catch (error) {
    return tell((error as Error).message, true)
  }
  if (count === 0) return tell('There are no sessions with this field any more.')
  ask({
    title: `End ${count === 1 ? 'the one session' : `all ${plural(count, 'session')}`} of this field?`,
    body: (
      <>
        <p>
          The custom field is <b class="text">{field}</b>. Whoever uses {count === 1 ? 'it is' : 'them are'}{' '}
          signed out with the next request. That cannot be undone.
        </p>
      </>
    ),
    act: `End ${plural(count, 'session')}`,
    grave: true,
    run: async () => {
      const { ended } = await end({ field, count })
      then()
      return `${plural(ended, 'session')} ended.`
    },
  })
}
