import type { GcRun } from '../../../src/console/api.ts'
import { collect } from '../client.ts'
import { duration, plural, whole } from '../format.ts'
import { mayAct } from '../state.ts'
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
          <button type="button" onClick={askForGc}>
            Run GC
          </button>
        )}
      </div>
      {runs.length === 0 ? (
        <p class="empty">None since this console began to look.</p>
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

function askForGc(): void {
  ask({
    title: 'Run GC now?',
    body: (
      <p>
        It removes what has expired, on every server, in small batches that hold up nobody. Sessions in use
        stay. How many it was is told afterwards.
      </p>
    ),
    act: 'Run GC',
    run: async () => {
      const { removed } = await collect()
      return removed === 0
        ? 'GC found nothing that has expired.'
        : `GC removed ${plural(removed, 'expired session')}.`
    },
  })
}
