import type { Amount } from '../../src/console/api.ts'

/** Formats numbers, sizes, dates and durations. */

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const ROUGH = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'always' })

export function whole(value: number): string {
  return WHOLE.format(value)
}

/** Formats a number for the axis of a chart: 12.3K. */
export function short(value: number): string {
  return SHORT.format(value)
}

/** Formats a rate: below 100 with three significant digits. */
export function rate(value: number): string {
  return value >= 100 ? WHOLE.format(value) : ROUGH.format(value)
}

/** Formats a count. An estimate has a leading ≈ and three significant digits. */
export function amount({ value, exact }: Amount): string {
  return exact ? WHOLE.format(value) : `≈ ${ROUGH.format(value)}`
}

/** Returns a formatter that marks its values as estimates. */
export const about =
  (format: (value: number) => string) =>
  (value: number): string =>
    `≈ ${value >= 1000 ? ROUGH.format(value) : format(value)}`

/** Formats a share from 0 to 1. */
export function percent(part: number): string {
  const value = part * 100
  return `${value > 0 && value < 10 ? value.toFixed(1) : WHOLE.format(value)}%`
}

/** Formats a size in steps of 1024, with the units of PostgreSQL's pg_size_pretty. */
export function bytes(value: number): string {
  let rest = value
  for (const unit of ['bytes', 'kB', 'MB', 'GB']) {
    if (rest < 1024) return `${rest < 10 && unit !== 'bytes' ? rest.toFixed(1) : WHOLE.format(rest)} ${unit}`
    rest /= 1024
  }
  return `${rest < 10 ? rest.toFixed(1) : WHOLE.format(rest)} TB`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** Formats a date in the browser's time zone: 2026-03-01 14:05:09. */
export function dateTime(iso: string): string {
  const date = new Date(iso)
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(date)}`
}

export function clock(date: Date): string {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

export function hourMinute(iso: string): string {
  return clock(new Date(iso)).slice(0, 5)
}

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
]

/** Seconds. The clocks of the database and the browser may differ by as much. */
const JUST_NOW = 5

/** Formats a date relative to `now`: "5 minutes ago", "in 2 days". */
export function relative(iso: string, now: number): string {
  const seconds = (Date.parse(iso) - now) / 1000
  if (Math.abs(seconds) < JUST_NOW) return 'just now'
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length * 1.5) ?? ['second', 1]
  return RELATIVE.format(Math.round(seconds / size), unit)
}

/** Formats a duration: 0.4 s, 12 s, 3 min. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${ROUGH.format(seconds)} s`
  return seconds < 5400 ? `${WHOLE.format(seconds / 60)} min` : `${ROUGH.format(seconds / 3600)} h`
}

/** Formats a count with its noun: "1 session", "3 sessions". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${WHOLE.format(count)} ${count === 1 ? one : many}`
}
