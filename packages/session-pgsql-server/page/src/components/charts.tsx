import { signal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { Figures, HistoryPoint } from '../../../src/console/api.ts'
import { about, rate, whole } from '../format.ts'
import { loadHistory, marksInTime, PERIODS, period, points } from '../live.ts'
import { type Parting, partLines } from '../parts.ts'
import { remember, remembered } from '../remembered.ts'
import { columns, type Line } from '../series.ts'
import { Chart, type ChartLine } from './chart.tsx'
import { Choice } from './small.tsx'

/** So many lines a chart has at most: there are as many colours. */
const MOST_LINES = 6

type Shown = 'all' | Parting

const SHOWN: readonly { readonly value: Shown; readonly label: string }[] = [
  { value: 'all', label: 'in all' },
  { value: 'name', label: 'by cookie name' },
  { value: 'server', label: 'by server' },
]

const chosen = signal<Shown>(
  remembered(
    'charts',
    SHOWN.map(({ value }) => value),
  ) ?? 'all',
)

/** How it was in the last minutes or hours: in all, or by cookie name or server. */
export function Charts() {
  const shown = points.value
  const several = (shown.at(-1)?.perServer.length ?? 0) > 1
  const options = SHOWN.filter(({ value }) => several || value !== 'server')
  const by = options.some(({ value }) => value === chosen.value) ? chosen.value : 'all'

  return (
    <section aria-labelledby="charts">
      <div class="title">
        <h2 id="charts">Over time</h2>
        <div class="choices">
          <Choice
            legend="Whose lines the charts show"
            name="by"
            options={options}
            value={by}
            onChange={(value) => {
              chosen.value = value
              remember('charts', value)
            }}
          />
          <Choice
            legend="How much time the charts show"
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
        <p class="card empty">The console has only just begun to count. Lines appear within seconds.</p>
      ) : (
        <div class="charts">
          {(by === 'all' ? inAll(shown) : inParts(shown, by)).map((one) => (
            <One key={`${by} ${one.title}`} {...one} points={shown} marks={marksInTime.value} />
          ))}
        </div>
      )}
    </section>
  )
}

interface Drawing {
  readonly title: string
  readonly unit?: string
  readonly format: (value: number) => string
  readonly fromZero?: boolean
  readonly lines: readonly (ChartLine & Line)[]
}

/** How each is drawn, and whether PostgreSQL counts it, however large the table. */
const MEASURES = {
  sessions: { title: 'Sessions', as: 'level', format: whole, fromZero: false, counted: false },
  begun: { title: 'Created', as: 'perMinute', unit: 'per minute', format: rate, counted: true },
  ended: { title: 'Ended', as: 'perMinute', unit: 'per minute', format: rate, counted: true },
  accesses: { title: 'Accesses', as: 'perSecond', unit: 'per second', format: rate, counted: true },
  errors: { title: 'Errors', as: 'perMinute', unit: 'per minute', format: rate, counted: false },
  warnings: { title: 'Warnings', as: 'perMinute', unit: 'per minute', format: rate, counted: false },
} as const satisfies Record<keyof Figures, Omit<Drawing, 'lines'> & Pick<Line, 'as'> & { counted: boolean }>

type Measure = keyof typeof MEASURES

function inAll(shown: readonly HistoryPoint[]): Drawing[] {
  const exact = shown.every((point) => point.exact)
  const drawing = (title: string, measures: readonly Measure[], colours: readonly string[]): Drawing => {
    const [first] = measures as [Measure]
    const { counted, as, format, ...how } = MEASURES[first]
    return {
      ...how,
      title,
      format: exact || counted ? format : about(format),
      lines: measures.map((measure, index) => ({
        label: MEASURES[measure].title.toLowerCase(),
        colour: colours[index] ?? '',
        dashed: index > 0,
        of: (point) => point[measure],
        as,
      })),
    }
  }
  return [
    drawing('Sessions', ['sessions'], ['--line-1']),
    drawing('Created and ended', ['begun', 'ended'], ['--line-1', '--line-2']),
    drawing('Accesses', ['accesses'], ['--line-1']),
    drawing('Errors and warnings', ['errors', 'warnings'], ['--bad', '--warn']),
  ]
}

function inParts(shown: readonly HistoryPoint[], by: Parting): Drawing[] {
  const exact = shown.every((point) => point.exact)
  const lines = partLines(shown, by, MOST_LINES)
  return (Object.keys(MEASURES) as Measure[]).map((measure) => {
    const { counted, as, format, ...how } = MEASURES[measure]
    return {
      ...how,
      format: exact || (counted && by === 'server') ? format : about(format),
      lines: lines.map(({ label, of }, index) => ({
        label,
        colour: `--line-${index + 1}`,
        dashed: index % 2 === 1,
        of: (point) => of(point, measure),
        as,
      })),
    }
  })
}

interface OneProps extends Drawing {
  readonly points: readonly HistoryPoint[]
  readonly marks: typeof marksInTime.value
}

function One({ lines, points, ...rest }: OneProps) {
  const labels = lines.map(({ label }) => label).join()
  // Lines with the same labels are the same.
  const drawn = useMemo(() => columns(points, lines), [points, labels])
  return <Chart {...rest} lines={lines} columns={drawn} />
}
