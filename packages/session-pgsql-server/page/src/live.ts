import { computed, signal } from '@preact/signals'
import type { HistoryMark, HistoryPoint } from '../../src/console/api.ts'
import { getHistory, getMe, getOverview } from './client.ts'
import { away, me } from './state.ts'

/** How it was, and how it goes on: the history, kept up to date by the console's stream of events. */

export const PERIODS: readonly { readonly minutes: number; readonly label: string }[] = [
  { minutes: 10, label: '10 minutes' },
  { minutes: 60, label: '1 hour' },
  { minutes: 360, label: '6 hours' },
  { minutes: 1440, label: '24 hours' },
]

/** What the charts show, in minutes. */
export const period = signal(60)
export const points = signal<readonly HistoryPoint[]>([])
export const marks = signal<readonly HistoryMark[]>([])
/** "in the last hour": the time that the charts show. */
export const within = computed(
  () =>
    `in the last ${(PERIODS.find(({ minutes }) => minutes === period.value)?.label ?? '').replace(/^1 /, '')}`,
)
/** Whether the stream is open. */
export const live = signal(false)

/** The marks in the time that was chosen. The console knows more of them than it has points: from before its start. */
export const marksInTime = computed(() => {
  const last = points.value.at(-1)
  if (last === undefined) return []
  const begin = Date.parse(last.at) - period.value * 60_000
  return marks.value.filter(({ at }) => Date.parse(at) >= begin)
})

let stream: EventSource | undefined
let again: ReturnType<typeof setTimeout> | undefined
const RETRY = 2000
const MOST_POINTS = 4000

/** Loads what has been, then follows what comes. */
export function follow(): void {
  unfollow()
  void loadHistory()
  const source = new EventSource('api/live')
  stream = source
  let opened = false
  source.addEventListener('open', () => {
    live.value = true
    // What was missed meanwhile.
    if (opened) void loadHistory()
    opened = true
  })
  source.addEventListener('point', ({ data }) => add(JSON.parse(data)))
  source.addEventListener('mark', ({ data }) => addMark(JSON.parse(data)))
  source.addEventListener('error', () => {
    live.value = false
    void look()
    // It tries again by itself after a lost connection, but not after an answer that it did not like.
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(again)
      again = setTimeout(() => me.value?.signedIn && follow(), RETRY)
    }
  })
}

export function unfollow(): void {
  clearTimeout(again)
  stream?.close()
  stream = undefined
  live.value = false
}

export async function loadHistory(): Promise<void> {
  const wanted = period.value
  try {
    const history = await getHistory(wanted)
    if (wanted !== period.value) return
    points.value = history.points
    marks.value = history.marks
  } catch {
    // Who is away is on the page already, and when they are back this is asked again.
  }
}

/** Who is away is asked whether they are back, every two seconds, by `watchAway`. */
export async function look(): Promise<void> {
  try {
    await getMe()
    if (me.value?.signedIn) await getOverview()
  } catch {
    // It shows in `away`.
  }
}

export function watchAway(): void {
  setInterval(() => {
    if (away.value !== 'nobody') void look()
  }, RETRY)
  let was = away.value
  away.subscribe((is) => {
    if (is === 'nobody' && was !== 'nobody' && me.value?.signedIn) void loadHistory()
    was = is
  })
}

function add(point: HistoryPoint): void {
  const last = points.value.at(-1)
  if (last !== undefined && last.at >= point.at) return
  // Now and then the console has no answer from its database before anybody here has asked for something.
  if (point.sessions === null && last?.sessions !== null && away.value === 'nobody') void look()
  const oldest = Date.parse(point.at) - period.value * 60_000
  const first = points.value.findIndex(({ at }) => Date.parse(at) >= oldest)
  points.value = [...points.value.slice(Math.max(first, 0)), point]
  // The console keeps minutes of what is long ago: so do we.
  if (points.value.length > MOST_POINTS) void loadHistory()
}

function addMark(mark: HistoryMark): void {
  if (marks.value.some(({ at, text }) => at === mark.at && text === mark.text)) return
  // What another process has noted comes later than what is seen from here.
  marks.value = [...marks.value, mark].sort((one, other) => Date.parse(one.at) - Date.parse(other.at))
}
