import type { Figures } from '../../../src/console/api.ts'
import { about, whole } from '../format.ts'
import { points, within } from '../live.ts'
import { label, type Part, type Parting, parts } from '../parts.ts'
import { href } from '../route.ts'
import { None } from './small.tsx'

const TITLES: Readonly<Record<Parting, string>> = { name: 'By cookie name', server: 'By server' }

const COLUMNS: readonly { readonly measure: keyof Figures; readonly title: string }[] = [
  { measure: 'sessions', title: 'Sessions now' },
  { measure: 'begun', title: 'Created' },
  { measure: 'ended', title: 'Ended' },
  { measure: 'accesses', title: 'Accesses' },
  { measure: 'errors', title: 'Errors' },
  { measure: 'warnings', title: 'Warnings' },
]

/** PostgreSQL counts these by server, however large the table. */
const COUNTED: readonly (keyof Figures)[] = ['begun', 'ended', 'accesses']

/** What each name or server has now, and what went on in the time that the charts show. */
export function Parts({ by }: { by: Parting }) {
  const shown = points.value
  const rows = parts(shown, by)
  const estimated = (part: Part): boolean =>
    by === 'name'
      ? shown.some(({ exact }) => !exact)
      : shown.some(({ perServer }) => perServer.some(({ name, exact }) => name === part.name && !exact))
  return (
    <section class="card" aria-labelledby={`by-${by}`}>
      <div class="title">
        <h2 id={`by-${by}`}>{TITLES[by]}</h2>
        <span class="muted">{within.value}</span>
      </div>
      {rows.length === 0 ? (
        <p class="empty">No sessions.</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
        <section class="scroll" tabIndex={0} aria-label={`${TITLES[by]}, ${within.value}`}>
          <table class="parts">
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
              {rows.map((part) => (
                <tr key={part.name ?? ''}>
                  <th scope="row">
                    <Name by={by} part={part} />
                  </th>
                  {COLUMNS.map(({ measure }) => (
                    <td class={`number ${toneOf(measure, part)}`} key={measure}>
                      <Value
                        of={part[measure]}
                        exact={!estimated(part) || (by === 'server' && COUNTED.includes(measure))}
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

function Name({ by, part }: { by: Parting; part: Part }) {
  if (part.name === null) return <span class="muted">{label(part)}</span>
  if (by === 'server') return <span class="text">{part.name}</span>
  return (
    <a class="text" href={href('sessions', { name: part.name })}>
      {part.name}
    </a>
  )
}

function Value({ of, exact }: { of: number | null; exact: boolean }) {
  if (of === null) return <None why="not known" />
  return exact ? <>{whole(of)}</> : <span title="An estimate">{about(whole)(of)}</span>
}

function toneOf(measure: keyof Figures, part: Part): string {
  if (!part[measure]) return ''
  return measure === 'errors' ? 'bad-text' : measure === 'warnings' ? 'warn-text' : ''
}
