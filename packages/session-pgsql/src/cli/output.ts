/** What is written, for people and for programs. */

/** The part of a stream that is used. */
export interface Stream {
  write(text: string): unknown
  readonly isTTY?: boolean
  /** Of a terminal. */
  readonly columns?: number
}

export interface Column {
  readonly header: string
  readonly right?: boolean
  /** Whether it may be cut short where the terminal is too narrow. */
  readonly shrinks?: boolean
}

export type Color = 'red' | 'green' | 'yellow' | 'bold' | 'dim'

const CODES: Record<Color, number> = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 }

/** A column that shrinks keeps so many characters. */
const NARROWEST = 6

export class Output {
  readonly isJson: boolean
  /** Columns of the terminal; 80 where there is none. */
  readonly width: number
  readonly #stdout: Stream
  readonly #stderr: Stream
  readonly #colored: boolean
  readonly #fullIds: boolean
  #inProgress = false

  constructor(
    stdout: Stream,
    stderr: Stream,
    options: {
      readonly json: boolean
      readonly fullIds: boolean
      readonly environment: Record<string, string | undefined>
    },
  ) {
    const { NO_COLOR, TERM } = options.environment
    this.#stdout = stdout
    this.#stderr = stderr
    this.isJson = options.json
    this.#fullIds = options.fullIds
    this.width = stdout.columns ?? 80
    this.#colored = stdout.isTTY === true && !NO_COLOR && TERM !== 'dumb'
  }

  /** A line for people. */
  line(text = ''): void {
    this.#stdout.write(`${text}\n`)
  }

  json(value: unknown): void {
    this.#stdout.write(`${JSON.stringify(value, null, 2)}\n`)
  }

  /** What went wrong. */
  error(message: string, code?: string): void {
    const text = this.isJson
      ? JSON.stringify({ error: { code, message } })
      : `session-pgsql: ${visible(message)}${code === undefined ? '' : ` (${code})`}`
    this.#stderr.write(`${text}\n`)
  }

  /** On a terminal: a line that is overwritten by the next. Empty: takes it away. */
  progress(text: string): void {
    if (!this.isWatched || (text === '' && !this.#inProgress)) return
    this.#inProgress = text !== ''
    this.#stderr.write(`\r${text}\u001b[K`)
  }

  /** On a terminal: from the top again, over what was shown; else a line between the two. */
  redraw(): void {
    if (this.isJson) return
    this.#stdout.write(this.#stdout.isTTY === true ? '\u001b[H\u001b[2J' : '\n')
  }

  /** Whether anybody watches `progress`. */
  get isWatched(): boolean {
    return this.#stderr.isTTY === true && !this.isJson
  }

  paint(color: Color, text: string): string {
    return this.#colored ? `\u001b[${CODES[color]}m${text}\u001b[0m` : text
  }

  /** An id as it may be shown. */
  id(id: string): string {
    return this.#fullIds || id.length <= 8 ? id : `${id.slice(0, 8)}…`
  }

  /** Cuts down to the terminal's width; what goes to a file or another program is left whole. */
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): void {
    const cells = rows.map((row) => row.map((cell) => visible(cell)))
    const widths = columns.map(({ header }, at) =>
      Math.max(header.length, ...cells.map((row) => lengthOf(row[at] as string))),
    )
    if (this.#stdout.columns !== undefined) shrink(widths, columns, this.#stdout.columns)
    const format = (row: readonly string[]): string =>
      row
        .map((cell, at) => {
          const width = widths[at] as number
          const short = cut(cell, width)
          const room = ' '.repeat(width - lengthOf(short))
          return columns[at]?.right ? room + short : short + room
        })
        .join('  ')
        .trimEnd()
    this.line(this.paint('bold', format(columns.map(({ header }) => header))))
    for (const row of cells) this.line(format(row))
  }

  /** Names and values, one a line. */
  facts(facts: readonly (readonly [string, string])[]): void {
    const width = Math.max(...facts.map(([name]) => name.length))
    for (const [name, value] of facts) {
      this.line(`${this.paint('bold', name.padEnd(width))}  ${visible(value)}`)
    }
  }
}

function shrink(widths: number[], columns: readonly Column[], terminal: number): void {
  const gaps = 2 * (columns.length - 1)
  for (;;) {
    const excess = widths.reduce((sum, width) => sum + width, gaps) - terminal
    const widest = columns.reduce(
      (best, { shrinks }, at) => (shrinks && (widths[at] as number) > (widths[best] ?? 0) ? at : best),
      -1,
    )
    if (excess <= 0 || widest === -1 || (widths[widest] as number) <= NARROWEST) return
    widths[widest] = (widths[widest] as number) - 1
  }
}

/** Characters, which is near enough to columns for what stands in these tables. */
function lengthOf(text: string): number {
  return [...text].length
}

function cut(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`
}

/**
 * Text that cannot command a terminal or reorder its line: fields, addresses and messages come from
 * visitors.
 *
 * @param keepLines leaves line breaks as they are
 */
export function visible(text: string, keepLines = false): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    keepLines && character === '\n' ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

/** Breaks at blanks. A word longer than a line is left whole, so that it can be copied. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

export function number(value: number): string {
  return value.toLocaleString('en')
}

/** `1 session`, `2,000 sessions`. */
export function plural(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** `in 22m`, `3h ago`; a dash for what has no date. */
export function relative(date: Date | null, now: number = Date.now()): string {
  if (date === null) return '-'
  const seconds = (date.getTime() - now) / 1000
  const span = duration(Math.abs(seconds))
  return seconds > 0 ? `in ${span}` : `${span} ago`
}

/** `2026-11-22 22:10:05 UTC (12m ago)`. */
export function moment(date: Date | null): string {
  if (date === null) return 'not known'
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC (${relative(date)})`
}

function duration(seconds: number): string {
  if (seconds < 100) return `${Math.floor(seconds)}s`
  if (seconds < 6000) return `${Math.floor(seconds / 60)}m`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** `[#######---------]  45%  45,000 of 100,000`. */
export function bar(done: number, total: number): string {
  const share = Math.min(1, done / total)
  const filled = Math.round(share * 20)
  return `[${'#'.repeat(filled)}${'-'.repeat(20 - filled)}] ${String(Math.floor(share * 100)).padStart(3)}%  ${number(done)} of ${number(total)}`
}
