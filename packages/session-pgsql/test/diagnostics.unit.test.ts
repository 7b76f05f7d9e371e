import { tracingChannel } from 'node:diagnostics_channel'
import { expect, test } from 'vitest'
import { isTraced } from '../src/diagnostics.ts'

test.each(['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const)(
  'an operation is traced while its channel %s has a subscriber, also on Bun',
  (stage) => {
    const { start, end, asyncStart, asyncEnd, error } = tracingChannel(`test:${stage}`)
    // A tracing channel as Bun has it: without hasSubscribers.
    const channels = { start, end, asyncStart, asyncEnd, error }
    const listener = () => {}
    expect(isTraced(channels)).toBe(false)
    channels[stage].subscribe(listener)
    expect(isTraced(channels)).toBe(true)
    channels[stage].unsubscribe(listener)
    expect(isTraced(channels)).toBe(false)
  },
)
