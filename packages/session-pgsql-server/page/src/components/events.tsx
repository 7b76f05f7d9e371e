import { visibleAnnotations } from '../live.ts'
import { annotationColour } from './chart.tsx'
import { Ago } from './common.tsx'

const MAX_EVENTS = 12

/** The annotations of the charts as a list. */
export function Events() {
  const latest = visibleAnnotations.value.slice(-MAX_EVENTS)
  return (
    <section class="card" aria-labelledby="events">
      <h2 id="events">Events</h2>
      {latest.length === 0 ? (
        <p class="empty">There are no events in this period.</p>
      ) : (
        <ol class="events">
          {latest.toReversed().map(({ at, kind, text }) => (
            <li key={`${at} ${text}`}>
              <svg width="10" height="8" viewBox="0 0 10 8" aria-hidden="true">
                <path d="M0 0h10L5 8z" fill={`var(${annotationColour(kind)})`} />
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
