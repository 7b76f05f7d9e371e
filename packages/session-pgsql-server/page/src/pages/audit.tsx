import { useState } from 'preact/hooks'
import type { AuditEntry } from '../../../src/console/api.ts'
import { getAudit } from '../client.ts'
import { None, Problem, Waiting } from '../components/small.tsx'
import { dateTime, relative, whole } from '../format.ts'
import { useLoaded } from '../load.ts'
import { now } from '../state.ts'

const STEP = 100

const ACTS: Readonly<Record<AuditEntry['act'], string>> = {
  'sign-in': 'Signed in',
  'sign-in-failed': 'Sign-in failed',
  'sign-out': 'Signed out',
  look: 'Looked at data',
  end: 'Ended sessions',
  'end-field': 'Ended all of a field',
  gc: 'Ran GC',
}

/** Who has done what with this console. */
export function AuditPage() {
  const [limit, setLimit] = useState(STEP)
  const { value, failure, loading } = useLoaded(`audit ${limit}`, () => getAudit(limit))
  const entries = value?.entries
  return (
    <>
      <h1 tabIndex={-1}>Audit log</h1>
      <p class="muted">What was done with this console, the newest first. Ids are shortened.</p>
      {failure !== undefined && <Problem text={failure.message} />}
      {entries === undefined && failure === undefined && <Waiting />}
      {entries?.length === 0 && <p class="card empty">Nothing has been done yet.</p>}
      {entries !== undefined && entries.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
        <section class="card scroll" tabIndex={0} aria-label="Entries">
          <table class="audit">
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">What</th>
                <th scope="col">To what</th>
                <th scope="col" class="number">
                  Sessions
                </th>
                <th scope="col">Who</th>
                <th scope="col">From</th>
              </tr>
            </thead>
            <tbody>
              {entries.map((entry) => (
                <Entry key={`${entry.at} ${entry.act} ${entry.what}`} entry={entry} />
              ))}
            </tbody>
          </table>
        </section>
      )}
      {entries?.length === limit && (
        <div class="buttons">
          <button type="button" disabled={loading} onClick={() => setLimit(limit + STEP)}>
            Older ones
          </button>
        </div>
      )}
    </>
  )
}

function Entry({ entry: { at, act, what, count, role, address } }: { entry: AuditEntry }) {
  return (
    <tr>
      <td class="nowrap">
        <span class="figures">{dateTime(at)}</span> <span class="muted wide">{relative(at, now.value)}</span>
      </td>
      <td class={act === 'sign-in-failed' ? 'bad-text' : ''}>{ACTS[act] ?? act}</td>
      <td class="text">{what === '' ? <None /> : what}</td>
      <td class="number">{count === undefined ? <None /> : whole(count)}</td>
      <td>{act === 'sign-in-failed' ? <None why="nobody" /> : role}</td>
      <td class="figures">{address}</td>
    </tr>
  )
}
