/** A command's output: text for people, JSON for programs. */

/** The part of a writable stream that `Output` uses. */
export interface Stream {
  write(text: string): unknown
  readonly isTTY?: boolean
  /** Width of the terminal; undefined for a file or pipe. */
  readonly columns?: number
}

export interface Column {
  readonly header: string
  /** Whether to align to the right. Default: false. */
  readonly right?: boolean
  /** Whether the column may be truncated if the terminal is too narrow. Default: false. */
  readonly shrinks?: boolean
}

export type Color = 'red' | 'green' | 'yellow' | 'bold' | 'dim'

const CODES: Record<Color, number> = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 }

/** Characters that a truncated column keeps at least. */
const MIN_COLUMN_WIDTH = 6

export class Output {
  readonly isJson: boolean
  /** Columns of the terminal; 80 without a terminal. */
  readonly width: number
  readonly #stdout: Stream
  readonly #stderr: Stream
  readonly #colored: boolean
  readonly #fullIds: boolean
  #progressShown = false

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

  /** Prints a line to stdout. */
  line(text = ''): void {
    this.#stdout.write(`${text}\n`)
  }

  /** Prints the value to stdout as JSON. */
  json(value: unknown): void {
    this.#stdout.write(`${JSON.stringify(value, null, 2)}\n`)
  }

  /** Prints an error to stderr. @param code an error code; left out for messages without one */
  error(message: string, code?: string): void {
    const text = this.isJson
      ? JSON.stringify({ error: { code, message } })
      : `session-pgsql: ${visible(message)}${code === undefined ? '' : ` (${code})`}`
    this.#stderr.write(`${text}\n`)
  }

  /** On a terminal, shows a line that the next call overwrites. An empty text removes the line. */
  progress(text: string): void {
    if (!this.showsProgress || (text === '' && !this.#progressShown)) return
    this.#progressShown = text !== ''
    this.#stderr.write(`\r${text}\u001b[K`)
  }

  /** Clears the terminal before the output is printed again. Without a terminal, prints an empty line. */
  redraw(): void {
    if (this.isJson) return
    this.#stdout.write(this.#stdout.isTTY === true ? '\u001b[H\u001b[2J' : '\n')
  }

  /** Whether `progress` prints anything. */
  get showsProgress(): boolean {
    return this.#stderr.isTTY === true && !this.isJson
  }

  /** Returns the text in this color if stdout is a terminal that takes colors. */
  paint(color: Color, text: string): string {
    return this.#colored ? `\u001b[${CODES[color]}m${text}\u001b[0m` : text
  }

  /** Returns a session id, shortened to 8 characters unless `--full-ids` is set. */
  id(id: string): string {
    return this.#fullIds || id.length <= 8 ? id : `${id.slice(0, 8)}…`
  }

  /** Prints a table. Truncates columns to fit a terminal, but not in a file or pipe. */
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
          const text = truncate(cell, width)
          const padding = ' '.repeat(width - lengthOf(text))
          return columns[at]?.right ? padding + text : text + padding
        })
        .join('  ')
        .trimEnd()
    this.line(this.paint('bold', format(columns.map(({ header }) => header))))
    for (const row of cells) this.line(format(row))
  }

  /** Prints names and values, one pair per line. */
  pairs(pairs: readonly (readonly [string, string])[]): void {
    const width = Math.max(...pairs.map(([name]) => name.length))
    for (const [name, value] of pairs) {
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
    if (excess <= 0 || widest === -1 || (widths[widest] as number) <= MIN_COLUMN_WIDTH) return
    widths[widest] = (widths[widest] as number) - 1
  }
}

/** Counts characters. Wide characters count as one, which is close enough for these tables. */
function lengthOf(text: string): number {
  return [...text].length
}

function truncate(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`
}

/**
 * Returns the text with control and formatting characters written as `\u{…}`. Fields, addresses and messages come
 * from users and must not control the terminal.
 *
 * @param keepLines whether to keep line breaks
 */
export function visible(text: string, keepLines = false): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    keepLines && character === '\n' ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

/** Breaks the text at spaces. Does not break a word longer than a line, so that it can be copied. */
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

/** Formats a number with thousands separators: `2,000`. */
export function number(value: number): string {
  return value.toLocaleString('en')
}

/** Formats a count and its noun: `1 session`, `2,000 sessions`. */
export function plural(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** Formats a date relative to now: `in 22m`, `3h ago`; `-` for null. */
export function relative(date: Date | null, now: number = Date.now()): string {
  if (date === null) return '-'
  const seconds = (date.getTime() - now) / 1000
  const span = duration(Math.abs(seconds))
  return seconds > 0 ? `in ${span}` : `${span} ago`
}

/** Formats a date: `2026-11-22 22:10:05 UTC (12m ago)`; `unknown` for null. */
export function dateTime(date: Date | null): string {
  if (date === null) return 'unknown'
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC (${relative(date)})`
}

function duration(seconds: number): string {
  if (seconds < 100) return `${Math.floor(seconds)}s`
  if (seconds < 6000) return `${Math.floor(seconds / 60)}m`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** Formats a progress bar: `[#########-----------]  45%  45,000 of 100,000`. */
export function bar(done: number, total: number): string {
  const share = Math.min(1, done / total)
  const filled = Math.round(share * 20)
  return `[${'#'.repeat(filled)}${'-'.repeat(20 - filled)}] ${String(Math.floor(share * 100)).padStart(3)}%  ${number(done)} of ${number(total)}`
}
