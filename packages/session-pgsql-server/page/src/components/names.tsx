import type { Overview } from '../../../src/console/api.ts'
import { href } from '../route.ts'
import { sum } from '../series.ts'
import { Count } from './small.tsx'

/** How many sessions each cookie's name has: each is a way to them. */
export function Names({ of }: { of: Overview['byName'] }) {
  const all = sum(of.map(({ sessions }) => sessions.value))
  return (
    <section class="card" aria-labelledby="names">
      <h2 id="names">By cookie name</h2>
      {of.length === 0 ? (
        <p class="empty">No sessions.</p>
      ) : (
        <table class="bars">
          <thead class="hidden">
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Sessions</th>
              <td />
            </tr>
          </thead>
          <tbody>
            {of.map(({ name, sessions }) => (
              <tr key={name ?? ''}>
                <th scope="row">
                  {name === null ? (
                    <span class="muted">without a name</span>
                  ) : (
                    <a class="text" href={href('sessions', { name })}>
                      {name}
                    </a>
                  )}
                </th>
                <td class="number">
                  <Count of={sessions} />
                </td>
                <td class="bar">
                  <Bar part={all === 0 ? 0 : sessions.value / all} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}

export function Bar({ part }: { part: number }) {
  return (
    <svg class="bar" width="100%" height="8" aria-hidden="true">
      <rect class="bar-all" width="100%" height="8" rx="4" />
      <rect class="bar-part" width={`${Math.min(100, part * 100).toFixed(1)}%`} height="8" rx="4" />
    </svg>
  )
}
