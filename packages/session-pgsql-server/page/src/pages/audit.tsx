import { useState } from 'preact/hooks'
import type { AuditEntry } from '../../../src/console/api.ts'
import { getAudit } from '../client.ts'
import { Loading, None, Problem } from '../components/common.tsx'
import { dateTime, relative, whole } from '../format.ts'
import { useLoaded } from '../load.ts'
import { now } from '../state.ts'

const STEP = 100

const ACTIONS: Readonly<Record<AuditEntry['act'], string>> = {
  'sign-in': 'Signed in',
  'sign-in-failed': 'Sign-in failed',
  'sign-out': 'Signed out',
  look: 'Viewed data',
  end: 'Ended sessions',
  'end-field': 'Ended by field',
  'end-all': 'Ended all sessions',
  gc: 'Ran GC',
}

/** The audit log: who did what in this console. */
export function AuditPage() {
  const [limit, setLimit] = useState(STEP)
  const { value, failure, loading } = useLoaded(`audit ${limit}`, () => getAudit(limit))
  const entries = value?.entries
  return (
    <>
      <h1 tabIndex={-1}>Audit log</h1>
      <p class="muted">Actions in this console, newest first. Session ids are shortened.</p>
      {failure !== undefined && <Problem text={failure.message} />}
      {entries === undefined && failure === undefined && <Loading />}
      {entries?.length === 0 && <p class="card empty">There are no entries yet.</p>}
      {entries !== undefined && entries.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable area must be reachable by keyboard
        <section class="card scroll" tabIndex={0} aria-label="Audit log entries">
          <table class="audit">
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">Action</th>
                <th scope="col">Target</th>
                <th scope="col" class="number">
                  Sessions
                </th>
                <th scope="col">Role</th>
                <th scope="col">Address</th>
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
            Show older entries
          </button>
        </div>
      )}
    </>
  )
}

function Entry({ entry: { at, act, what, count, role, address, omitted } }: { entry: AuditEntry }) {
  return (
    <tr>
      <td class="nowrap">
        <span class="tabular">{dateTime(at)}</span> <span class="muted wide">{relative(at, now.value)}</span>
      </td>
      <td class={act === 'sign-in-failed' ? 'bad-text' : ''}>
        {ACTIONS[act] ?? act}
        {omitted !== undefined && <span class="muted"> (and {whole(omitted)} more before)</span>}
      </td>
      <td class="text">{what === '' ? <None /> : what}</td>
      <td class="number">{count === undefined ? <None /> : whole(count)}</td>
      <td>{act === 'sign-in-failed' ? <None why="none" /> : role}</td>
      <td class="tabular">{address}</td>
    </tr>
  )
}
