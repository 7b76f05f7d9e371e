import type { Meter } from '@opentelemetry/api'
import type { SaveHandler } from 'session-pgsql'
import type { Metrics } from './metrics.ts'

/**
 * Loads what needs OpenTelemetry. Its packages are optional peer dependencies: with them the server is half as large
 * again, and most installations serve no metrics.
 */

/** How to install the packages, as a sentence for the operator. */
export const INSTALL_METRICS =
  'Metrics need packages that are not installed. Run: npm install @opentelemetry/api @opentelemetry/sdk-metrics @opentelemetry/exporter-prometheus'

/** Returns the metrics of a save handler; undefined if the packages are not installed. */
// biome-ignore lint/suspicious/noExplicitAny: metrics do not depend on the data's type
export async function loadMetrics(sessions: SaveHandler<any>): Promise<Metrics | undefined> {
  const loaded = await ifInstalled(() => import('./metrics.ts'))
  return loaded && new loaded.Metrics(sessions)
}

/** Returns a meter of the SDK that the program has registered; undefined if the program has no OpenTelemetry. */
export async function registeredMeter(): Promise<Meter | undefined> {
  const loaded = await ifInstalled(() => import('@opentelemetry/api'))
  return loaded?.metrics.getMeter('session-pgsql-server')
}

async function ifInstalled<Module>(load: () => Promise<Module>): Promise<Module | undefined> {
  try {
    return await load()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes('@opentelemetry/')) return undefined
    throw error
  }
}
