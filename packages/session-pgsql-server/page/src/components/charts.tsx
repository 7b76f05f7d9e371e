import { signal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { HistoryPoint, SessionMetrics } from '../../../src/console/api.ts'
import { about, rate, whole } from '../format.ts'
import { type Grouping, groupLines } from '../groups.ts'
import { loadHistory, PERIODS, period, points, visibleAnnotations } from '../live.ts'
import { loadPreference, savePreference } from '../preferences.ts'
import { columns, type Line } from '../series.ts'
import { Chart, type ChartLine } from './chart.tsx'
import { Choice } from './common.tsx'

/** The maximum number of lines in a chart; the style sheet has as many colours. */
const MAX_LINES = 6

type View = 'all' | Grouping

const VIEWS: readonly { readonly value: View; readonly label: string }[] = [
  { value: 'all', label: 'total' },
  { value: 'name', label: 'by cookie name' },
  { value: 'server', label: 'by server' },
]

const chosen = signal<View>(
  loadPreference(
    'charts',
    VIEWS.map(({ value }) => value),
  ) ?? 'all',
)

/** The metrics of the selected time range: totals, or by cookie name or server. */
export function Charts() {
  const shown = points.value
  const several = (shown.at(-1)?.perServer.length ?? 0) > 1
  const options = VIEWS.filter(({ value }) => several || value !== 'server')
  const by = options.some(({ value }) => value === chosen.value) ? chosen.value : 'all'

  return (
    <section aria-labelledby="charts">
      <div class="title">
        <h2 id="charts">Metrics over time</h2>
        <div class="choices">
          <Choice
            legend="Grouping of the charts"
            name="by"
            options={options}
            value={by}
            onChange={(value) => {
              chosen.value = value
              savePreference('charts', value)
            }}
          />
          <Choice
            legend="Time range of the charts"
            name="period"
            options={PERIODS.map(({ minutes, label }) => ({ value: minutes, label }))}
            value={period.value}
            onChange={(minutes) => {
              period.value = minutes
              void loadHistory()
            }}
          />
        </div>
      </div>
      {shown.length < 2 ? (
        <p class="card empty">
          The console has just started to collect metrics. The charts appear within a few seconds.
        </p>
      ) : (
        <div class="charts">
          {(by === 'all' ? totalCharts(shown) : groupedCharts(shown, by)).map((one) => (
            <One key={`${by} ${one.title}`} {...one} points={shown} annotations={visibleAnnotations.value} />
          ))}
        </div>
      )}
    </section>
  )
}

interface ChartSpec {
  readonly title: string
  readonly unit?: string
  readonly format: (value: number) => string
  readonly fromZero?: boolean
  readonly lines: readonly (ChartLine & Line)[]
}

/** How each metric is drawn. `counted` metrics come from PostgreSQL's counters, so they are exact for any table size. */
const METRICS = {
  sessions: { title: 'Sessions', as: 'level', format: whole, fromZero: false, counted: false },
  created: { title: 'Created', as: 'perMinute', unit: 'per minute', format: rate, counted: true },
  ended: { title: 'Ended', as: 'perMinute', unit: 'per minute', format: rate, counted: true },
  accesses: { title: 'Accesses', as: 'perSecond', unit: 'per second', format: rate, counted: true },
  errors: { title: 'Errors', as: 'perMinute', unit: 'per minute', format: rate, counted: false },
  warnings: { title: 'Warnings', as: 'perMinute', unit: 'per minute', format: rate, counted: false },
} as const satisfies Record<
  keyof SessionMetrics,
  Omit<ChartSpec, 'lines'> & Pick<Line, 'as'> & { counted: boolean }
>

type Metric = keyof typeof METRICS

function totalCharts(shown: readonly HistoryPoint[]): ChartSpec[] {
  const exact = shown.every((point) => point.exact)
  const chart = (title: string, metrics: readonly Metric[], colours: readonly string[]): ChartSpec => {
    const [first] = metrics as [Metric]
    const { counted, as, format, ...spec } = METRICS[first]
    return {
      ...spec,
      title,
      format: exact || counted ? format : about(format),
      lines: metrics.map((metric, index) => ({
        label: METRICS[metric].title.toLowerCase(),
        colour: colours[index] ?? '',
        dashed: index > 0,
        of: (point) => point[metric],
        as,
      })),
    }
  }
  return [
    chart('Sessions', ['sessions'], ['--line-1']),
    chart('Created and ended', ['created', 'ended'], ['--line-1', '--line-2']),
    chart('Accesses', ['accesses'], ['--line-1']),
    chart('Errors and warnings', ['errors', 'warnings'], ['--bad', '--warn']),
  ]
}

function groupedCharts(shown: readonly HistoryPoint[], by: Grouping): ChartSpec[] {
  const exact = shown.every((point) => point.exact)
  const lines = groupLines(shown, by, MAX_LINES)
  return (Object.keys(METRICS) as Metric[]).map((metric) => {
    const { counted, as, format, ...spec } = METRICS[metric]
    return {
      ...spec,
      format: exact || (counted && by === 'server') ? format : about(format),
      lines: lines.map(({ label, of }, index) => ({
        label,
        colour: `--line-${index + 1}`,
        dashed: index % 2 === 1,
        of: (point) => of(point, metric),
        as,
      })),
    }
  })
}

interface OneProps extends ChartSpec {
  readonly points: readonly HistoryPoint[]
  readonly annotations: typeof visibleAnnotations.value
}

function One({ lines, points, ...rest }: OneProps) {
  const labels = lines.map(({ label }) => label).join()
  // `lines` is a new array on each render; lines with the same labels show the same data.
  const drawn = useMemo(() => columns(points, lines), [points, labels])
  return <Chart {...rest} lines={lines} columns={drawn} />
}
