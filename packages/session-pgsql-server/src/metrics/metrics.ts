import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Meter } from '@opentelemetry/api'
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { SaveHandler } from 'session-pgsql'
import { recordMetrics } from 'session-pgsql/opentelemetry'

/**
 * The answer to `GET /metrics`, in the text format of Prometheus: the metrics of a save handler, and those recorded with
 * `meter`. docs/metrics.md lists them. They hold the servers' names, and no id, data or address of a session.
 */
export class Metrics {
  /** For further metrics of the same process. */
  readonly meter: Meter
  // The exporter only collects: gateway and console have their own HTTP server.
  readonly #exporter = new PrometheusExporter({ preventServerStart: true })
  readonly #serializer = new PrometheusSerializer('', false, undefined, true, true)
  readonly #provider = new MeterProvider({ readers: [this.#exporter] })
  readonly #stopRecording: () => void

  // biome-ignore lint/suspicious/noExplicitAny: metrics do not depend on the data's type
  constructor(sessions: SaveHandler<any>) {
    this.meter = this.#provider.getMeter('session-pgsql-server')
    this.#stopRecording = recordMetrics(sessions, this.#provider)
  }

  /** Answers a GET or HEAD request: 200, or 500 if the metrics cannot be collected. Never rejects. */
  async answer(_request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { resourceMetrics } = await this.#exporter.collect()
      const text = this.#serializer.serialize(withUnitInNames(resourceMetrics))
      response
        .writeHead(200, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
          'cache-control': 'no-store',
        })
        .end(text)
    } catch {
      response.writeHead(500, { 'content-type': 'text/plain' }).end('Cannot collect the metrics.\n')
    }
  }

  /** Stops recording. */
  async close(): Promise<void> {
    this.#stopRecording()
    await this.#provider.shutdown()
  }
}

/**
 * Adds the unit to the names, as OpenTelemetry's rules for Prometheus require and its Collector does, so that a dashboard
 * works with both. The exporter omits it. Our units are seconds, and counts, whose names get none.
 */
function withUnitInNames({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics {
  return {
    resource,
    scopeMetrics: scopeMetrics.map(({ scope, metrics }) => ({
      scope,
      metrics: metrics.map((metric) => {
        const { descriptor } = metric
        if (descriptor.unit !== 's') return metric
        return { ...metric, descriptor: { ...descriptor, name: `${descriptor.name}_seconds` } }
      }),
    })),
  }
}
