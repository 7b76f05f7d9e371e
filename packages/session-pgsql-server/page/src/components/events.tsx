import { marksInTime } from '../live.ts'
import { markColour } from './chart.tsx'
import { Ago } from './small.tsx'

const MOST = 12

/** The marks on the time line, in words. */
export function Events() {
  const latest = marksInTime.value.slice(-MOST)
  return (
    <section class="card" aria-labelledby="events">
      <h2 id="events">What happened</h2>
      {latest.length === 0 ? (
        <p class="empty">Nothing out of the ordinary in this time.</p>
      ) : (
        <ol class="events">
          {latest.toReversed().map(({ at, kind, text }) => (
            <li key={`${at} ${text}`}>
              <svg width="10" height="8" viewBox="0 0 10 8" aria-hidden="true">
                <path d="M0 0h10L5 8z" fill={`var(${markColour(kind)})`} />
              </svg>
              <span>{text}</span>
              <span class="muted">
                <Ago at={at} />
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}
