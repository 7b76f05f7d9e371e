import { computed, signal } from '@preact/signals'
import type { Annotation, HistoryPoint } from '../../src/console/api.ts'
import { getHistory, getMe, getOverview } from './client.ts'
import { duration } from './format.ts'
import { me, unreachable } from './state.ts'

/** The history, kept up to date by the console's stream of server-sent events. */

export const PERIODS: readonly { readonly minutes: number; readonly label: string }[] = [
  { minutes: 10, label: '10 minutes' },
  { minutes: 60, label: '1 hour' },
  { minutes: 360, label: '6 hours' },
  { minutes: 1440, label: '24 hours' },
]

/** The time range of the charts, in minutes. */
export const period = signal(60)
export const points = signal<readonly HistoryPoint[]>([])
export const annotations = signal<readonly Annotation[]>([])
/** The time that the points cover as a text: "in the last hour", or "since the console started, 10 s ago". */
export const periodText = computed(() => {
  const seconds = coveredSeconds(points.value)
  if (seconds !== undefined && seconds < period.value * 60 - MAX_GAP) {
    return `since the console started, ${duration(Math.round(seconds))} ago`
  }
  return `in the last ${(PERIODS.find(({ minutes }) => minutes === period.value)?.label ?? '').replace(/^1 /, '')}`
})

/** Seconds by which a complete history may be shorter than the time range: it begins with a whole point. */
const MAX_GAP = 10

/** Returns the seconds from the start of the first point to the last one; undefined without points. */
function coveredSeconds(points: readonly HistoryPoint[]): number | undefined {
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined) return undefined
  return (Date.parse(last.at) - Date.parse(first.at)) / 1000 + first.seconds
}
/** Whether the stream is open. */
export const live = signal(false)

/** The annotations within the time range. The console has annotations from before its start, but no points. */
export const visibleAnnotations = computed(() => {
  const last = points.value.at(-1)
  if (last === undefined) return []
  const begin = Date.parse(last.at) - period.value * 60_000
  return annotations.value.filter(({ at }) => Date.parse(at) >= begin)
})

let stream: EventSource | undefined
let reconnectTimer: ReturnType<typeof setTimeout> | undefined
const RETRY_INTERVAL = 2000
const MAX_POINTS = 4000
/** Requests for the history so far. */
let loads = 0

/** Loads the history and opens the stream. */
export function connect(): void {
  disconnect()
  void loadHistory()
  const source = new EventSource('api/live')
  stream = source
  source.addEventListener('open', () => {
    live.value = true
    // Again, because the stream lacks the points between the first answer and its start.
    void loadHistory()
  })
  source.addEventListener('point', ({ data }) => addPoint(JSON.parse(data)))
  source.addEventListener('annotation', ({ data }) => addAnnotation(JSON.parse(data)))
  source.addEventListener('error', () => {
    live.value = false
    void checkHealth()
    // EventSource reconnects by itself after a lost connection, but not after a response with an error status.
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(reconnectTimer)
      reconnectTimer = setTimeout(() => me.value?.signedIn && connect(), RETRY_INTERVAL)
    }
  })
}

export function disconnect(): void {
  clearTimeout(reconnectTimer)
  stream?.close()
  stream = undefined
  live.value = false
}

export async function loadHistory(): Promise<void> {
  const load = ++loads
  const before = new Set(annotations.value)
  try {
    const history = await getHistory(period.value)
    // A later request has the newer answer, and perhaps another time range.
    if (load !== loads) return
    // The stream may already have sent points from after this answer.
    const end = history.points.at(-1)?.at ?? ''
    points.value = [...history.points, ...points.value.filter(({ at }) => at > end)]
    const streamed = annotations.value.filter((annotation) => !before.has(annotation))
    annotations.value = history.annotations
    for (const annotation of streamed) addAnnotation(annotation)
  } catch {
    // The outage banner shows the failure, and retryWhileUnreachable loads the history again.
  }
}

/** Updates `unreachable`. */
async function checkHealth(): Promise<void> {
  try {
    await getMe()
    if (me.value?.signedIn) await getOverview()
  } catch {
    // The client has set `unreachable`.
  }
}

/** Checks every two seconds while something is not responding, and reloads the history afterwards. */
export function retryWhileUnreachable(): void {
  setInterval(() => {
    if (unreachable.value !== 'none') void checkHealth()
  }, RETRY_INTERVAL)
  let previous = unreachable.value
  unreachable.subscribe((current) => {
    if (current === 'none' && previous !== 'none' && me.value?.signedIn) void loadHistory()
    previous = current
  })
}

function addPoint(point: HistoryPoint): void {
  const last = points.value.at(-1)
  if (last !== undefined && last.at >= point.at) return
  // The stream may show that the database is not responding before any request of the page fails.
  if (point.sessions === null && last?.sessions !== null && unreachable.value === 'none') void checkHealth()
  const oldest = Date.parse(point.at) - period.value * 60_000
  const first = points.value.findIndex(({ at }) => Date.parse(at) >= oldest)
  points.value = [...points.value.slice(Math.max(first, 0)), point]
  // The reloaded history has one point per minute instead of one per sample.
  if (points.value.length > MAX_POINTS) void loadHistory()
}

function addAnnotation(annotation: Annotation): void {
  const { at, text } = annotation
  if (annotations.value.some((one) => one.at === at && one.text === text)) return
  // Events of other processes arrive later than those that the console sees itself.
  annotations.value = [...annotations.value, annotation].sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
}
