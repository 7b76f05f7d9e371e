import type { Attributes, Meter, ObservableResult } from '@opentelemetry/api'
import type { TableStatistics } from 'session-pgsql'
import type { Watch } from './watch.ts'

type Observe = (table: TableStatistics, result: ObservableResult, labels: Attributes) => void

/**
 * The sessions and the table of each server as metrics, as of the console's last look; docs/metrics.md has their
 * list. Of a server that did not answer there are none.
 */
export class Figures {
  readonly #stops: (() => void)[] = []

  constructor(meter: Meter, watch: Watch) {
    const gauge = (name: string, unit: string, description: string, observe: Observe): void => {
      const instrument = meter.createObservableGauge(`session_pgsql.${name}`, { description, unit })
      const callback = async (result: ObservableResult): Promise<void> => {
        const { servers } = await watch.latest()
        for (const { name, table } of servers) {
          if (table !== undefined) observe(table, result, { 'session_pgsql.server': name })
        }
      }
      instrument.addCallback(callback)
      this.#stops.push(() => instrument.removeCallback(callback))
    }
    const figure = (
      name: string,
      unit: string,
      description: string,
      of: (table: TableStatistics) => number,
    ) => gauge(name, unit, description, (table, result, labels) => result.observe(of(table), labels))

    gauge('session.count', '{session}', 'Sessions that have not expired', ({ names }, result, labels) => {
      for (const { name, sessions } of names) {
        result.observe(sessions, { ...labels, 'session_pgsql.name': name ?? '' })
      }
    })
    figure('session.unswept', '{session}', 'Sessions that GC should have seen', ({ unswept }) => unswept)
    figure('table.size', 'By', 'Size of the session table', ({ tableBytes }) => tableBytes)
    figure('table.index.size', 'By', 'Size of its indexes', ({ indexBytes }) => indexBytes)
    figure('table.row.dead', '{row}', 'Rows that vacuum has to remove', ({ deadRows }) => deadRows)
    gauge('standby.lag', 'By', 'WAL that a standby has not replayed', ({ standbys }, result, labels) => {
      for (const { name, lagBytes } of standbys) {
        if (lagBytes !== null) result.observe(lagBytes, { ...labels, 'session_pgsql.standby': name })
      }
    })
  }

  close(): void {
    for (const stop of this.#stops) stop()
  }
}
