import type { Overview } from '../../../src/console/api.ts'
import { amount, hourMinute } from '../format.ts'
import { sum } from '../series.ts'

/** The number of sessions that expire in each of the next hours unless they are accessed again. */
export function Expiring({ of }: { of: Overview['expiring'] }) {
  const highest = Math.max(1, ...of.map(({ sessions }) => sessions.value))
  const all = sum(of.map(({ sessions }) => sessions.value))
  const exact = of.every(({ sessions }) => sessions.exact)
  return (
    <section class="card" aria-labelledby="expiring">
      <h2 id="expiring">Upcoming expirations</h2>
      <p class="muted">
        {amount({ value: all, exact })} {all === 1 ? 'session expires' : 'sessions expire'} in the next{' '}
        {of.length} hours unless accessed again.
      </p>
      {all > 0 && (
        <>
          <svg
            class="hours"
            viewBox={`0 0 ${of.length * 10} 100`}
            preserveAspectRatio="none"
            width="100%"
            height="110"
            role="img"
            aria-label={`Bar chart with one bar per hour. The highest is ${amount({ value: highest, exact })}.`}
          >
            {of.map(({ until, sessions }, index) => (
              <g key={until}>
                <title>{`until ${hourMinute(until)}: ${amount(sessions)}`}</title>
                <rect class="hour-all" x={index * 10} width="10" height="100" />
                <rect
                  class="hour-part"
                  x={index * 10 + 1}
                  width="8"
                  y={100 - (sessions.value / highest) * 100}
                  height={(sessions.value / highest) * 100}
                />
              </g>
            ))}
          </svg>
          <div class="hours-axis muted" aria-hidden="true">
            <span>now</span>
            {[6, 12, 18].map((hour) => {
              const at = of[hour - 1]
              return at && <span key={hour}>{hourMinute(at.until)}</span>
            })}
            <span>{of.at(-1) && hourMinute(of.at(-1)?.until ?? '')}</span>
          </div>
          <details class="data-table">
            <summary>
              Show as table <span class="hidden">: upcoming expirations</span>
            </summary>
            <table>
              <thead>
                <tr>
                  <th scope="col">Until</th>
                  <th scope="col" class="number">
                    Sessions
                  </th>
                </tr>
              </thead>
              <tbody>
                {of.map(({ until, sessions }) => (
                  <tr key={until}>
                    <td class="tabular">{hourMinute(until)}</td>
                    <td class="number">{amount(sessions)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </details>
        </>
      )}
    </section>
  )
}
