import type { GcPreview, GcResult, GcRun } from '../../../src/console/api.ts'
import { previewGc, runGc } from '../client.ts'
import { duration, plural, whole } from '../format.ts'
import { isOperator, notify } from '../state.ts'
import { Ago } from './common.tsx'
import { confirm } from './confirm.tsx'

const MAX_RUNS = 8

/** The last runs of GC, and a button that starts one. */
export function GarbageCollection({ runs, several }: { runs: readonly GcRun[]; several: boolean }) {
  return (
    <section class="card" aria-labelledby="gc">
      <div class="title">
        <h2 id="gc">Garbage collection</h2>
        {isOperator() && (
          <button type="button" onClick={() => void confirmGc()}>
            Run GC
          </button>
        )}
      </div>
      {runs.length === 0 ? (
        <p class="empty">GC has removed no sessions in the last 24 hours.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {several && <th scope="col">Server</th>}
              <th scope="col" class="number">
                Duration
              </th>
              <th scope="col" class="number">
                Removed
              </th>
            </tr>
          </thead>
          <tbody>
            {runs.slice(0, MAX_RUNS).map((run) => (
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

/** Opens the dialog, which shows how many sessions are due. */
async function confirmGc(): Promise<void> {
  let preview: GcPreview
  try {
    preview = await previewGc()
  } catch (error) {
    return notify((error as Error).message, true)
  }
  const { due, keepsRows, unreachable } = preview
  if (due.value === 0 && due.exact) {
    const text = `No expired session is due for garbage collection.${notResponding(unreachable)}`
    return notify(text, unreachable.length > 0)
  }
  const many = due.value === 0 ? 'expired sessions' : plural(due.value, 'expired session')
  const action = `${keepsRows ? 'Empty' : 'Remove'} ${due.exact || due.value === 0 ? '' : 'at least '}${many}`
  confirm({
    title: `${action}?`,
    body: (
      <>
        <p>
          GC works in small batches that do not block requests. Active sessions are not affected.
          {unreachable.length > 0 && <b class="text">{notResponding(unreachable)}</b>}
        </p>
        {keepsRows ? (
          <p>The data of these sessions is deleted. Their rows, with dates, addresses and counters, stay.</p>
        ) : (
          <p>
            The rows of these sessions are deleted permanently. If your site keeps expired rows (
            <code>keepExpired</code>), start this console with the same setting: it does not know options that
            the site sets in its code.
          </p>
        )}
      </>
    ),
    action: 'Run GC',
    destructive: !keepsRows,
    run: async () => resultText(await runGc(), keepsRows),
  })
}

const notResponding = (servers: readonly string[]): string =>
  servers.length === 0 ? '' : ` Not responding: ${servers.join(', ')}.`

function resultText({ removed, busy, failed }: GcResult, keepsRows: boolean): string {
  const result =
    removed > 0
      ? `GC ${keepsRows ? 'emptied' : 'removed'} ${plural(removed, 'expired session')}.`
      : busy.length > 0
        ? 'GC removed no session.'
        : 'GC found no expired sessions.'
  return [
    result,
    busy.length > 0 &&
      `Busy: other transactions, such as GC of another process, have locked the remaining expired sessions on ${busy.join(', ')}.`,
    failed.length > 0 && `GC failed on ${failed.join(', ')}.`,
  ]
    .filter(Boolean)
    .join(' ')
}
