import type { Attributes, Meter, ObservableResult } from '@opentelemetry/api'
import type { TableStatistics } from 'session-pgsql'
import type { Monitor } from './monitor.ts'

type Observe = (table: TableStatistics, result: ObservableResult, labels: Attributes) => void

/**
 * Records the sessions and the table of each server as metrics, from the monitor's last sample. docs/metrics.md lists
 * them. A server that did not respond has none.
 */
export class TableMetrics {
  readonly #removers: (() => void)[] = []

  constructor(meter: Meter, monitor: Monitor) {
    const gauge = (name: string, unit: string, description: string, observe: Observe): void => {
      const instrument = meter.createObservableGauge(`session_pgsql.${name}`, { description, unit })
      const callback = async (result: ObservableResult): Promise<void> => {
        const { servers } = await monitor.latest()
        for (const { name, table } of servers) {
          if (table !== undefined) observe(table, result, { 'session_pgsql.server': name })
        }
      }
      instrument.addCallback(callback)
      this.#removers.push(() => instrument.removeCallback(callback))
    }
    const perServer = (
      name: string,
      unit: string,
      description: string,
      read: (table: TableStatistics) => number,
    ) => gauge(name, unit, description, (table, result, labels) => result.observe(read(table), labels))

    gauge('session.count', '{session}', 'Sessions that have not expired', ({ names }, result, labels) => {
      for (const { name, sessions } of names) {
        result.observe(sessions, { ...labels, 'session_pgsql.name': name ?? '' })
      }
    })
    perServer(
      'session.unswept',
      '{session}',
      'Expired sessions that GC should have removed',
      ({ unswept }) => unswept,
    )
    perServer('table.size', 'By', 'Size of the session table', ({ tableBytes }) => tableBytes)
    perServer('table.index.size', 'By', 'Size of its indexes', ({ indexBytes }) => indexBytes)
    perServer('table.row.dead', '{row}', 'Rows that vacuum has to remove', ({ deadRows }) => deadRows)
    gauge('standby.lag', 'By', 'WAL that a standby has not replayed', ({ standbys }, result, labels) => {
      for (const { name, lagBytes } of standbys) {
        if (lagBytes !== null) result.observe(lagBytes, { ...labels, 'session_pgsql.standby': name })
      }
    })
  }

  /** Stops recording. */
  close(): void {
    for (const remove of this.#removers) remove()
  }
}
