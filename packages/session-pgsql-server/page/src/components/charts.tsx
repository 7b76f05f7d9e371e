import { useMemo } from 'preact/hooks'
import type { HistoryPoint } from '../../../src/console/api.ts'
import { rate, whole } from '../format.ts'
import { loadHistory, marksInTime, PERIODS, period, points } from '../live.ts'
import { columns, type Line } from '../series.ts'
import { Chart, type ChartLine } from './chart.tsx'

/** So many servers get a line of their own. */
const MOST_SERVERS = 5

/** How it was in the last minutes or hours. */
export function Charts() {
  const shown = points.value
  const inTime = marksInTime.value
  const servers = serversOf(shown)
  const several = servers.length > 1

  return (
    <section aria-labelledby="charts">
      <div class="title">
        <h2 id="charts">Over time</h2>
        <Periods />
      </div>
      {shown.length < 2 ? (
        <p class="card empty">The console has only just begun to count. Lines appear within seconds.</p>
      ) : (
        <div class="charts">
          <One
            title="Sessions"
            format={whole}
            fromZero={false}
            lines={[
              {
                label: several ? 'all' : 'sessions',
                colour: '--line-1',
                of: (point) => point.sessions,
                as: 'level',
              },
              ...(several ? servers.slice(0, MOST_SERVERS) : []).map((name, index) => ({
                label: name,
                colour: `--line-${index + 2}`,
                of: (point: HistoryPoint) => sessionsOf(point, name),
                as: 'level' as const,
              })),
            ]}
            points={shown}
            marks={inTime}
          />
          <One
            title="Begun and ended"
            unit="per minute"
            format={rate}
            lines={[
              { label: 'begun', colour: '--line-1', of: (point) => point.begun, as: 'perMinute' },
              {
                label: 'ended',
                colour: '--line-2',
                dashed: true,
                of: (point) => point.ended,
                as: 'perMinute',
              },
            ]}
            points={shown}
            marks={inTime}
          />
          <One
            title="Accesses"
            unit="per second"
            format={rate}
            lines={[
              { label: 'accesses', colour: '--line-1', of: (point) => point.accesses, as: 'perSecond' },
            ]}
            points={shown}
            marks={inTime}
          />
          <One
            title="Errors and warnings"
            unit="per minute"
            format={rate}
            lines={[
              { label: 'errors', colour: '--bad', of: (point) => point.errors, as: 'perMinute' },
              {
                label: 'warnings',
                colour: '--warn',
                dashed: true,
                of: (point) => point.warnings,
                as: 'perMinute',
              },
            ]}
            points={shown}
            marks={inTime}
          />
        </div>
      )}
    </section>
  )
}

interface OneProps {
  readonly title: string
  readonly unit?: string
  readonly format: (value: number) => string
  readonly fromZero?: boolean
  readonly lines: readonly (ChartLine & Line)[]
  readonly points: readonly HistoryPoint[]
  readonly marks: typeof marksInTime.value
}

function One({ lines, points, ...rest }: OneProps) {
  const labels = lines.map(({ label }) => label).join()
  // Lines with the same labels are the same.
  const drawn = useMemo(() => columns(points, lines), [points, labels])
  return <Chart {...rest} lines={lines} columns={drawn} />
}

function Periods() {
  return (
    <fieldset class="periods">
      <legend class="hidden">How much time the charts show</legend>
      {PERIODS.map(({ minutes, label }) => (
        <label key={minutes}>
          <input
            type="radio"
            name="period"
            checked={period.value === minutes}
            onChange={() => {
              period.value = minutes
              void loadHistory()
            }}
          />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  )
}

const serversOf = (shown: readonly HistoryPoint[]): readonly string[] =>
  shown.at(-1)?.perServer.map(({ name }) => name) ?? []

const sessionsOf = (point: HistoryPoint, server: string): number | null =>
  point.perServer.find(({ name }) => name === server)?.sessions ?? null
