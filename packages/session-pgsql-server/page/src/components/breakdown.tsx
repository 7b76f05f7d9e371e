import type { SessionMetrics } from '../../../src/console/api.ts'
import { about, whole } from '../format.ts'
import { type Group, type Grouping, groups, label } from '../groups.ts'
import { periodText, points } from '../live.ts'
import { href } from '../route.ts'
import { None } from './common.tsx'

const TITLES: Readonly<Record<Grouping, string>> = { name: 'By cookie name', server: 'By server' }

const COLUMNS: readonly { readonly metric: keyof SessionMetrics; readonly title: string }[] = [
  { metric: 'sessions', title: 'Active sessions' },
  { metric: 'created', title: 'Created' },
  { metric: 'ended', title: 'Ended' },
  { metric: 'accesses', title: 'Accesses' },
  { metric: 'errors', title: 'Errors' },
  { metric: 'warnings', title: 'Warnings' },
]

/** PostgreSQL counts these by server, so they are exact for any table size. */
const COUNTED: readonly (keyof SessionMetrics)[] = ['created', 'ended', 'accesses']

/** A table with the metrics of each cookie name or server in the time range of the charts. */
export function Breakdown({ by }: { by: Grouping }) {
  const shown = points.value
  const rows = groups(shown, by)
  const isEstimated = (group: Group): boolean =>
    by === 'name'
      ? shown.some(({ exact }) => !exact)
      : shown.some(({ perServer }) => perServer.some(({ name, exact }) => name === group.name && !exact))
  return (
    <section class="card" aria-labelledby={`by-${by}`}>
      <div class="title">
        <h2 id={`by-${by}`}>{TITLES[by]}</h2>
        <span class="muted">{periodText.value}</span>
      </div>
      {rows.length === 0 ? (
        <p class="empty">There are no sessions.</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable area must be reachable by keyboard
        <section class="scroll" tabIndex={0} aria-label={`${TITLES[by]}, ${periodText.value}`}>
          <table class="breakdown">
            <thead>
              <tr>
                <th scope="col">{by === 'name' ? 'Name' : 'Server'}</th>
                {COLUMNS.map(({ title }) => (
                  <th scope="col" class="number" key={title}>
                    {title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((group) => (
                <tr key={group.name ?? ''}>
                  <th scope="row">
                    <Name by={by} group={group} />
                  </th>
                  {COLUMNS.map(({ metric }) => (
                    <td class={`number ${toneOf(metric, group)}`} key={metric}>
                      <Value
                        of={group[metric]}
                        exact={!isEstimated(group) || (by === 'server' && COUNTED.includes(metric))}
                      />
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  )
}

function Name({ by, group }: { by: Grouping; group: Group }) {
  if (group.name === null) return <span class="muted">{label(group)}</span>
  if (by === 'server') return <span class="text">{group.name}</span>
  return (
    <a class="text" href={href('sessions', { name: group.name })}>
      {group.name}
    </a>
  )
}

function Value({ of, exact }: { of: number | null; exact: boolean }) {
  if (of === null) return <None why="unknown" />
  return exact ? whole(of) : <span title="Estimate">{about(whole)(of)}</span>
}

function toneOf(metric: keyof SessionMetrics, group: Group): string {
  if (!group[metric]) return ''
  return metric === 'errors' ? 'bad-text' : metric === 'warnings' ? 'warn-text' : ''
}
