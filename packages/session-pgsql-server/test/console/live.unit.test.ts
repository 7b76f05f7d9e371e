import { afterEach, expect, test, vi } from 'vitest'
import type { Annotation, History, HistoryPoint } from '../../src/console/api.ts'

/** Imported by its path, because its types need those of a browser. */
const LIVE = new URL('../../page/src/live.ts', import.meta.url).pathname
const { annotations, connect, disconnect, points } = await import(LIVE)

/** The page's state, with a stream and a history of which the test decides when they arrive. */

class Stream extends EventTarget {
  static last: Stream
  constructor() {
    super()
    Stream.last = this
  }
  close(): void {}
  send(type: string, data?: unknown): void {
    this.dispatchEvent(Object.assign(new Event(type), { data: JSON.stringify(data) }))
  }
}

const point = (second: number) =>
  ({ at: new Date(second * 1000).toISOString(), seconds: 2, sessions: second }) as HistoryPoint
const annotation = (second: number): Annotation => ({
  ...{ at: new Date(second * 1000).toISOString(), kind: 'gc', text: `at ${second}` },
})

afterEach(() => {
  disconnect()
  vi.unstubAllGlobals()
})

test('has every point once, whenever the history and the stream arrive', async () => {
  const requests: ((history: History) => void)[] = []
  vi.stubGlobal('EventSource', Stream)
  vi.stubGlobal('fetch', async () => ({
    ok: true,
    status: 200,
    text: () =>
      new Promise<string>((resolve) => requests.push((history) => resolve(JSON.stringify(history)))),
  }))
  connect()
  await vi.waitFor(() => expect(requests).toHaveLength(1))
  requests[0]?.({ points: [point(1)], annotations: [] })
  await vi.waitFor(() => expect(points.value).toHaveLength(1))
  // A sample between the answer and the start of the stream is in the next answer.
  Stream.last.send('open')
  await vi.waitFor(() => expect(requests).toHaveLength(2))
  // A sample after that answer was made, which arrives first.
  Stream.last.send('point', point(3))
  Stream.last.send('annotation', annotation(3))
  requests[1]?.({ points: [point(1), point(2)], annotations: [annotation(2)] })
  await vi.waitFor(() =>
    expect(annotations.value.map(({ text }: Annotation) => text)).toEqual(['at 2', 'at 3']),
  )
  expect(points.value).toEqual([1, 2, 3].map(point))
})
