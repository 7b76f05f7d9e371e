import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { HistoryMark } from '../../../src/console/api.ts'
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
  /** What one means: "per minute". */
  readonly unit?: string
  readonly lines: readonly ChartLine[]
  readonly columns: Columns
  readonly marks: readonly HistoryMark[]
  readonly format: (value: number) => string
  /** Whether zero belongs to the picture: for rates it does. */
  readonly fromZero?: boolean
}

const HEIGHT = 170
/** Pixels that are near. */
const NEAR = 5

/** Lines over time, with marks. What it draws is also there as a sentence and as a table. */
export function Chart(props: ChartProps) {
  const { title, unit, lines, columns, format } = props
  const [cursor, setCursor] = useState<Cursor | null>(null)
  const at = cursor === null ? columns.x.length - 1 : cursor.index
  const mark = cursor === null ? undefined : markNear(props, cursor.time)
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
        {mark && <li class="legend-mark">{mark.text}</li>}
      </ul>
      <div role="img" aria-label={sentence(props)}>
        <Canvas
          key={`${theme.value} ${lines.map(({ label }) => label).join()}`}
          {...props}
          onCursor={setCursor}
        />
      </div>
      <AsTable {...props} />
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

/** Where somebody points at. */
interface Cursor {
  /** Seconds since 1970. */
  readonly time: number
  /** Of the column there; undefined before the first. */
  readonly index: number | undefined
}

/** All charts of the page show the same moment. */
const SYNC = 'time'

function Canvas({
  lines,
  columns,
  marks,
  fromZero = true,
  onCursor,
}: ChartProps & { onCursor: (cursor: Cursor | null) => void }) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const drawn = useRef(marks)
  drawn.current = marks
  const data = useMemo(() => [columns.x, ...columns.lines] as uPlot.AlignedData, [columns])

  // Other lines are another Canvas, by its key; what they show comes below.
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
        // Marks may lie before the first point.
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
        drawAxes: [(u) => drawMarks(u, drawn.current, colour)],
      },
    }
    const made = new uPlot(options, data, element)
    plot.current = made
    const size = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height: HEIGHT })
    })
    size.observe(element)
    return () => {
      size.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [])

  useEffect(() => plot.current?.setData(data), [data, marks])
  return <div class="chart-canvas" ref={host} />
}

function cursorOf(u: uPlot): Cursor | null {
  const { idx, left = -1 } = u.cursor
  if (idx == null || left < 0) return null
  const time = u.posToVal(left, 'x')
  const [first = time] = u.data[0]
  const isBefore = u.valToPos(first, 'x') - left > NEAR
  return isBefore ? { time, index: undefined } : { time: u.data[0][idx] ?? time, index: idx }
}

/** A little air; and a line that is always the same lies in the middle, not on the edge. */
function range(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null) return [0, 1]
  if (fromZero || low < high / 2) return [0, high <= 0 ? 1 : high * 1.1]
  const air = Math.max((high - low) * 0.15, 1)
  return [Math.max(0, low - air), high + air]
}

const GRAVE: readonly HistoryMark['kind'][] = ['serverDown', 'failover']

export const markColour = (kind: HistoryMark['kind']): string =>
  GRAVE.includes(kind) ? '--bad' : kind === 'gc' ? '--muted' : '--good'

function drawMarks(u: uPlot, marks: readonly HistoryMark[], colour: (name: string) => string): void {
  const { ctx, bbox } = u
  const unit = devicePixelRatio
  for (const { at, kind } of marks) {
    const x = Math.round(u.valToPos(Date.parse(at) / 1000, 'x', true)) + 0.5
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.save()
    ctx.strokeStyle = colour(markColour(kind))
    ctx.fillStyle = ctx.strokeStyle
    ctx.lineWidth = unit
    ctx.setLineDash([3 * unit, 3 * unit])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    // What happens every hour does not cross the picture.
    if (kind !== 'gc') ctx.stroke()
    ctx.beginPath()
    ctx.moveTo(x - 4 * unit, bbox.top)
    ctx.lineTo(x + 4 * unit, bbox.top)
    ctx.lineTo(x, bbox.top + 6 * unit)
    ctx.fill()
    ctx.restore()
  }
}

const timeOf = (mark: HistoryMark | undefined): number | undefined => mark && Date.parse(mark.at) / 1000

/** The mark under the cursor, within a sixtieth of the width. */
function markNear({ marks, columns: { x } }: ChartProps, here: number): HistoryMark | undefined {
  const [first, last] = [x[0], x.at(-1)]
  if (first === undefined || last === undefined) return undefined
  const far = (mark: HistoryMark) => Math.abs((timeOf(mark) as number) - here)
  const [nearest] = marks.toSorted((a, b) => far(a) - far(b))
  const width = last - Math.min(first, timeOf(marks[0]) ?? first)
  return nearest !== undefined && far(nearest) <= width / 60 ? nearest : undefined
}

function sentence({ title, unit, lines, columns, format }: ChartProps): string {
  const parts = lines.map(({ label }, index) => {
    const known = (columns.lines[index] ?? []).filter((value) => value !== null)
    const last = known.at(-1)
    if (last === undefined) return `${label}: nothing known`
    return `${label}: ${format(last)} now, ${format(Math.min(...known))} to ${format(Math.max(...known))} in this time`
  })
  return `Chart: ${title}${unit ? ` ${unit}` : ''}. ${parts.join('; ')}.`
}

const ROWS = 20

function AsTable({ title, unit, lines, columns, format }: ChartProps) {
  const [open, setOpen] = useState(false)
  const step = Math.max(1, Math.ceil(columns.x.length / ROWS))
  const rows = columns.x.flatMap((time, index) =>
    (columns.x.length - 1 - index) % step === 0 ? [{ time, index }] : [],
  )
  return (
    <details class="as-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        As a table <span class="hidden">: {title}</span>
      </summary>
      {open && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
        <section class="scroll" tabIndex={0} aria-label={`${title} as a table`}>
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
                  <td class="figures">{clock(new Date(time * 1000))}</td>
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
