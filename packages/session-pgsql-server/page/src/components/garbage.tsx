import type { Collected, Garbage as Due, GcRun } from '../../../src/console/api.ts'
import { collect, getGarbage } from '../client.ts'
import { duration, plural, whole } from '../format.ts'
import { mayAct, tell } from '../state.ts'
import { ask } from './ask.tsx'
import { Ago } from './small.tsx'

const MOST = 8

/** GC's last sweeps, and one now. */
export function Garbage({ runs, several }: { runs: readonly GcRun[]; several: boolean }) {
  return (
    <section class="card" aria-labelledby="gc">
      <div class="title">
        <h2 id="gc">Garbage collection</h2>
        {mayAct() && (
          <button type="button" onClick={() => void askForGc()}>
            Run GC
          </button>
        )}
      </div>
      {runs.length === 0 ? (
        <p class="empty">None has removed anything in the last day.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">When</th>
              {several && <th scope="col">Server</th>}
              <th scope="col" class="number">
                Took
              </th>
              <th scope="col" class="number">
                Removed
              </th>
            </tr>
          </thead>
          <tbody>
            {runs.slice(0, MOST).map((run) => (
              <tr key={`${run.at} ${run.server}`}>
                <td>
                  <Ago at={run.at} />
                </td>
                {several && <td>{run.server ?? 'all'}</td>}
                <td class="number">{duration(run.seconds)}</td>
                <td class="number">
                  {run.failed === undefined ? (
                    whole(run.removed)
                  ) : (
                    <span class="bad-text text">failed: {run.failed}</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}

/** Counts first. */
async function askForGc(): Promise<void> {
  let found: Due
  try {
    found = await getGarbage()
  } catch (error) {
    return tell((error as Error).message, true)
  }
  const { due, keeps, away } = found
  if (due.value === 0 && due.exact) {
    return tell(
      `Nothing is due: no session has expired that GC would look at now.${unasked(away)}`,
      away.length > 0,
    )
  }
  const many = due.value === 0 ? 'expired sessions' : plural(due.value, 'expired session')
  const act = `${keeps ? 'Empty' : 'Remove'} ${due.exact || due.value === 0 ? '' : 'at least '}${many}`
  ask({
    title: `${act}?`,
    body: (
      <>
        <p>
          GC goes through them in small batches that hold up nobody. Sessions in use stay.
          {away.length > 0 && <b class="text">{unasked(away)}</b>}
        </p>
        {keeps ? (
          <p>Their data goes; their rows stay, with dates, addresses and counters.</p>
        ) : (
          <p>
            Their rows go for good. If your site is set to keep them (<code>keepExpired</code>), start this
            console with the same setting: it does not know what the site's own code says.
          </p>
        )}
      </>
    ),
    act: 'Run GC',
    grave: !keeps,
    run: async () => outcomeOf(await collect(), keeps),
  })
}

const unasked = (servers: readonly string[]): string =>
  servers.length === 0 ? '' : ` Without ${servers.join(', ')}: no answer from there.`

function outcomeOf({ removed, busy, failed }: Collected, keeps: boolean): string {
  const done =
    removed > 0
      ? `GC ${keeps ? 'emptied' : 'removed'} ${plural(removed, 'expired session')}.`
      : busy.length > 0
        ? 'GC did nothing itself.'
        : 'GC found nothing that has expired.'
  return [
    done,
    busy.length > 0 && `Busy: another process is at it already, and was left to it (${busy.join(', ')}).`,
    failed.length > 0 && `These servers could not be swept: ${failed.join(', ')}.`,
  ]
    .filter(Boolean)
    .join(' ')
}
