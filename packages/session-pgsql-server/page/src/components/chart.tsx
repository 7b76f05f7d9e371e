import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { Annotation } from '../../../src/console/api.ts'
import { clock, short } from '../format.ts'
import type { Columns } from '../series.ts'
import { theme } from '../theme.ts'

export interface ChartLine {
  readonly label: string
  /** A custom property of the style sheet, such as `--line-1`. */
  readonly colour: string
  readonly dashed?: boolean
}

interface ChartProps {
  readonly title: string
  /** The unit of the values, such as "per minute". */
  readonly unit?: string
  readonly lines: readonly ChartLine[]
  readonly columns: Columns
  readonly annotations: readonly Annotation[]
  readonly format: (value: number) => string
  /** Whether the y axis always starts at zero, as it does for rates. */
  readonly fromZero?: boolean
}

const HEIGHT = 170
/** The maximum distance in pixels at which the cursor still selects the first point. */
const SNAP_DISTANCE = 5

/** A line chart over time with annotations. A sentence and a table give the same data to screen readers. */
export function Chart(props: ChartProps) {
  const { title, unit, lines, columns, format } = props
  const [cursor, setCursor] = useState<Cursor | null>(null)
  const at = cursor === null ? columns.x.length - 1 : cursor.index
  const annotation = cursor === null ? undefined : annotationNear(props, cursor.time)
  return (
    <figure class="chart">
      <figcaption>
        <h3>
          {title} {unit && <span class="unit">{unit}</span>}
        </h3>
        <span class="chart-time" aria-hidden="true">
          {cursor !== null && clock(new Date(cursor.time * 1000))}
        </span>
      </figcaption>
      <ul class="legend" aria-hidden="true">
        {lines.map((line, index) => (
          <li key={line.label}>
            <Swatch line={line} />
            {line.label}
            <b>{shown(at === undefined ? null : columns.lines[index]?.[at], format)}</b>
          </li>
        ))}
        {annotation && <li class="legend-annotation">{annotation.text}</li>}
      </ul>
      <div role="img" aria-label={sentence(props)}>
        <Canvas
          key={`${theme.value} ${lines.map(({ label }) => label).join()}`}
          {...props}
          onCursor={setCursor}
        />
      </div>
      <DataTable {...props} />
    </figure>
  )
}

function Swatch({ line }: { line: ChartLine }) {
  return (
    <svg class="swatch" width="14" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="14"
        y1="4"
        y2="4"
        stroke={`var(${line.colour})`}
        stroke-width="2.5"
        stroke-dasharray={line.dashed ? '4 2' : undefined}
      />
    </svg>
  )
}

const shown = (value: number | null | undefined, format: (value: number) => string): string =>
  value === null || value === undefined ? '–' : format(value)

/** The position of the mouse pointer. */
interface Cursor {
  /** Seconds since 1970. */
  readonly time: number
  /** The index of the column at this time; undefined before the first column. */
  readonly index: number | undefined
}

/** The cursors of all charts move together. */
const SYNC = 'time'

function Canvas({
  lines,
  columns,
  annotations,
  fromZero = true,
  onCursor,
}: ChartProps & { onCursor: (cursor: Cursor | null) => void }) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const drawn = useRef(annotations)
  drawn.current = annotations
  const data = useMemo(() => [columns.x, ...columns.lines] as uPlot.AlignedData, [columns])

  // Runs once: other lines make another Canvas, by its key. The effect below updates the data.
  useEffect(() => {
    const element = host.current
    if (element === null) return
    const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim()
    const axis = {
      stroke: colour('--muted'),
      font: '11px system-ui, sans-serif',
      grid: { stroke: colour('--grid'), width: 1 },
      ticks: { show: false },
    }
    const options: uPlot.Options = {
      width: element.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: SYNC }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
      scales: {
        // An annotation may be from before the first point.
        x: { time: true, range: (_, low, high) => [Math.min(low, timeOf(drawn.current[0]) ?? low), high] },
        y: { range: (_, low, high) => range(low, high, fromZero) },
      },
      axes: [
        {
          ...axis,
          size: 24,
          values: (_, splits, __, ___, step) =>
            splits.map((at) => clock(new Date(at * 1000)).slice(0, step < 60 ? 8 : 5)),
        },
        { ...axis, size: 46, values: (_, splits) => splits.map(short) },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 1.75,
          points: { show: false },
          ...(line.dashed ? { dash: [5, 3] } : {}),
        })),
      ],
      hooks: {
        setCursor: [(u) => onCursor(cursorOf(u))],
        drawAxes: [(u) => drawAnnotations(u, drawn.current, colour)],
      },
    }
    const chart = new uPlot(options, data, element)
    plot.current = chart
    const resizeObserver = new ResizeObserver(() => {
      if (element.clientWidth > 0) chart.setSize({ width: element.clientWidth, height: HEIGHT })
    })
    resizeObserver.observe(element)
    return () => {
      resizeObserver.disconnect()
      chart.destroy()
      plot.current = null
    }
  }, [])

  useEffect(() => plot.current?.setData(data), [data, annotations])
  return <div class="chart-canvas" ref={host} />
}

function cursorOf(u: uPlot): Cursor | null {
  const { idx, left = -1 } = u.cursor
  if (idx == null || left < 0) return null
  const time = u.posToVal(left, 'x')
  const [first = time] = u.data[0]
  const isBefore = u.valToPos(first, 'x') - left > SNAP_DISTANCE
  return isBefore ? { time, index: undefined } : { time: u.data[0][idx] ?? time, index: idx }
}

/** Adds padding above and below. A constant line is in the middle of the chart, not at its edge. */
function range(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null) return [0, 1]
  if (fromZero || low < high / 2) return [0, high <= 0 ? 1 : high * 1.1]
  const padding = Math.max((high - low) * 0.15, 1)
  return [Math.max(0, low - padding), high + padding]
}

const FAILURES: readonly Annotation['kind'][] = ['serverDown', 'failover']

export const annotationColour = (kind: Annotation['kind']): string =>
  FAILURES.includes(kind) ? '--bad' : kind === 'gc' ? '--muted' : '--good'

function drawAnnotations(
  u: uPlot,
  annotations: readonly Annotation[],
  colour: (name: string) => string,
): void {
  const { ctx, bbox } = u
  const unit = devicePixelRatio
  for (const { at, kind } of annotations) {
    const x = Math.round(u.valToPos(Date.parse(at) / 1000, 'x', true)) + 0.5
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.save()
    ctx.strokeStyle = colour(annotationColour(kind))
    ctx.fillStyle = ctx.strokeStyle
    ctx.lineWidth = unit
    ctx.setLineDash([3 * unit, 3 * unit])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    // Garbage collections are frequent, so they get no vertical line.
    if (kind !== 'gc') ctx.stroke()
    ctx.beginPath()
    ctx.moveTo(x - 4 * unit, bbox.top)
    ctx.lineTo(x + 4 * unit, bbox.top)
    ctx.lineTo(x, bbox.top + 6 * unit)
    ctx.fill()
    ctx.restore()
  }
}

const timeOf = (annotation: Annotation | undefined): number | undefined =>
  annotation && Date.parse(annotation.at) / 1000

/** Returns the annotation nearest to `time`, if it is within a sixtieth of the chart's width. */
function annotationNear({ annotations, columns: { x } }: ChartProps, time: number): Annotation | undefined {
  const [first, last] = [x[0], x.at(-1)]
  if (first === undefined || last === undefined) return undefined
  const distance = (annotation: Annotation) => Math.abs((timeOf(annotation) as number) - time)
  const [nearest] = annotations.toSorted((a, b) => distance(a) - distance(b))
  const width = last - Math.min(first, timeOf(annotations[0]) ?? first)
  return nearest !== undefined && distance(nearest) <= width / 60 ? nearest : undefined
}

function sentence({ title, unit, lines, columns, format }: ChartProps): string {
  const parts = lines.map(({ label }, index) => {
    const known = (columns.lines[index] ?? []).filter((value) => value !== null)
    const last = known.at(-1)
    if (last === undefined) return `${label}: no data`
    return `${label}: ${format(last)} now, ${format(Math.min(...known))} to ${format(Math.max(...known))} in this period`
  })
  return `Chart: ${title}${unit ? ` ${unit}` : ''}. ${parts.join('; ')}.`
}

const MAX_ROWS = 20

function DataTable({ title, unit, lines, columns, format }: ChartProps) {
  const [open, setOpen] = useState(false)
  const step = Math.max(1, Math.ceil(columns.x.length / MAX_ROWS))
  const rows = columns.x.flatMap((time, index) =>
    (columns.x.length - 1 - index) % step === 0 ? [{ time, index }] : [],
  )
  return (
    <details class="data-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        Show as table <span class="hidden">: {title}</span>
      </summary>
      {open && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable area must be reachable by keyboard
        <section class="scroll" tabIndex={0} aria-label={`${title}, table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Time</th>
                {lines.map(({ label }) => (
                  <th scope="col" class="number" key={label}>
                    {label} {unit && <span class="unit">{unit}</span>}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.toReversed().map(({ time, index }) => (
                <tr key={time}>
                  <td class="tabular">{clock(new Date(time * 1000))}</td>
                  {lines.map(({ label }, line) => (
                    <td class="number" key={label}>
                      {shown(columns.lines[line]?.[index], format)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </details>
  )
}
