import { metrics, trace } from '@opentelemetry/api'
import type { SaveHandler } from '../save-handler.ts'
import { recordMetrics } from './opentelemetry/metrics.ts'
import { recordTraces } from './opentelemetry/traces.ts'

/** OpenTelemetry: a save handler's metrics and spans, by its diagnostics channels. docs/metrics.md names them all. */

export { recordMetrics } from './opentelemetry/metrics.ts'
export { recordTraces } from './opentelemetry/traces.ts'

/**
 * Records metrics and spans of a save handler with the providers that the program has registered. To be called
 * after they are (`NodeSDK.start()`): a meter that is asked for earlier records nothing, for good.
 *
 * @returns what ends it
 */
// biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
export function instrument(sessions: SaveHandler<any>): () => void {
  const stops = [
    recordMetrics(sessions, metrics.getMeterProvider()),
    recordTraces(sessions, trace.getTracerProvider()),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}
