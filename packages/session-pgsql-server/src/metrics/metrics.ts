import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Meter } from '@opentelemetry/api'
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { SaveHandler } from 'session-pgsql'
import { recordMetrics } from 'session-pgsql/opentelemetry'

/**
 * What Prometheus is answered at `GET /metrics`: the metrics of a save handler, and what is recorded with `meter`
 * beside them. docs/metrics.md has their list. They hold no id, data or address of a session, but the servers' names.
 */
export class Metrics {
  readonly meter: Meter
  // Collects, and listens nowhere: the gateway and the console have a listener of their own.
  readonly #exporter = new PrometheusExporter({ preventServerStart: true })
  readonly #serializer = new PrometheusSerializer('', false, undefined, true, true)
  readonly #provider = new MeterProvider({ readers: [this.#exporter] })
  readonly #stop: () => void

  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  constructor(sessions: SaveHandler<any>) {
    this.meter = this.#provider.getMeter('session-pgsql-server')
    this.#stop = recordMetrics(sessions, this.#provider)
  }

  /** Answers a GET or HEAD. Never rejects. */
  async answer(_request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { resourceMetrics } = await this.#exporter.collect()
      const text = this.#serializer.serialize(inPrometheusNames(resourceMetrics))
      response
        .writeHead(200, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
          'cache-control': 'no-store',
        })
        .end(text)
    } catch {
      response.writeHead(500, { 'content-type': 'text/plain' }).end('the metrics cannot be collected\n')
    }
  }

  /** Ends the recording. */
  async close(): Promise<void> {
    this.#stop()
    await this.#provider.shutdown()
  }
}

/**
 * With the unit in the name, as OpenTelemetry's rules for Prometheus say and its Collector does, so that a dashboard
 * fits either way. The exporter leaves it out; ours are seconds, or counts, which have none.
 */
function inPrometheusNames({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics {
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
