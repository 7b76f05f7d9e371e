import { endSessions, getCount } from './client.ts'
import { confirm } from './components/confirm.tsx'
import { plural } from './format.ts'
import { notify } from './state.ts'

/** The dialogs that end sessions. */

export function confirmEnd(ids: readonly string[], then: () => void): void {
  const [first] = ids
  if (first === undefined) return
  const one = ids.length === 1
  confirm({
    title: one ? 'End this session?' : `End ${plural(ids.length, 'session')}?`,
    body: (
      <>
        <p>
          {one ? 'Its user is' : 'Their users are'} signed out on the next request. This cannot be undone.
        </p>
        {one && <p class="id full">{first}</p>}
      </>
    ),
    action: one ? 'End session' : `End ${plural(ids.length, 'session')}`,
    destructive: true,
    run: async () => {
      const { ended } = await endSessions({ ids })
      then()
      if (ended === ids.length) return `${plural(ended, 'session')} ended.`
      return one
        ? 'The session no longer existed.'
        : `${plural(ended, 'session')} ended. The others no longer existed.`
    },
  })
}

/** Ends all sessions of all users. */
export function confirmEndAll(then: () => void): void {
  confirm({
    title: 'End all sessions of all users?',
    body: <p>All users are signed out on their next request, on every server. This cannot be undone.</p>,
    action: 'End all sessions',
    destructive: true,
    run: async () => {
      const { ended } = await endSessions({ all: true })
      then()
      return `${plural(ended, 'session')} ended.`
    },
  })
}

/** Ends all sessions with a custom field, usually those of one user. The dialog shows how many there are. */
export async function confirmEndByField(field: string, then: () => void): Promise<void> {
  let count: number
  try {
    count = (await getCount(field)).count
  } catch (error) {
    return notify((error as Error).message, true)
  }
  if (count === 0) return notify('There are no sessions with this field.')
  const one = count === 1
  confirm({
    title: `End ${one ? 'the only session' : `all ${plural(count, 'session')}`} with this field?`,
    body: (
      <p>
        The custom field is <b class="text">{field}</b>. {one ? 'Its user is' : 'Their users are'} signed out
        on the next request. This cannot be undone.
      </p>
    ),
    action: `End ${plural(count, 'session')}`,
    destructive: true,
    run: async () => {
      const { ended } = await endSessions({ field, count })
      then()
      return `${plural(ended, 'session')} ended.`
    },
  })
}
