import { metrics, trace } from '@opentelemetry/api'
import type { SaveHandler } from '../save-handler.ts'
import { recordMetrics } from './opentelemetry/metrics.ts'
import { recordTraces } from './opentelemetry/traces.ts'

/** Metrics and spans of a save handler for OpenTelemetry, from its diagnostics channels. docs/metrics.md lists them. */

export { recordMetrics } from './opentelemetry/metrics.ts'
export { recordTraces } from './opentelemetry/traces.ts'

/**
 * Records metrics and spans of a save handler with the registered providers. Call it after they are registered
 * (`NodeSDK.start()`): a meter that is created earlier never records anything.
 *
 * @returns a function that stops the recording
 */
// biome-ignore lint/suspicious/noExplicitAny: a handler of any data
export function instrument(sessions: SaveHandler<any>): () => void {
  const stops = [
    recordMetrics(sessions, metrics.getMeterProvider()),
    recordTraces(sessions, trace.getTracerProvider()),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}
