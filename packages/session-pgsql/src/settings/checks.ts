import { SessionPgsqlError } from '../errors.ts'

/**
 * Checks a setting. Takes where it was set ("option gcInterval", "directive session_pgsql.gc_interval") and returns
 * the value in its final form.
 *
 * @throws INVALID_OPTION with what was expected and what was received
 */
export type Check<T> = (where: string, value: unknown) => T

export function refuse(where: string, expected: string, value: unknown, advice?: string): SessionPgsqlError {
  return problem(
    `${where}: expected ${expected}; received ${shown(value)}${advice === undefined ? '' : `. ${advice}`}`,
  )
}

export function problem(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', message)
}

/** For values without secrets only; use `typeName` for others. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (typeof value === 'number' || typeof value === 'boolean' || value == null) return String(value)
  return typeName(value)
}

export function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') {
    const name = value.constructor?.name
    return name === undefined || name === 'Object' ? 'an object' : `an object of class ${name}`
  }
  return value === undefined ? 'undefined' : `a ${typeof value}`
}

export const isBoolean: Check<boolean> = (where, value) => {
  if (typeof value === 'boolean') return value
  throw refuse(where, 'true or false', value)
}

interface NumberRule {
  readonly min: number
  readonly max: number
  /** Whether `min` itself is excluded. */
  readonly above?: boolean
  readonly orInfinity?: boolean
  readonly whole?: boolean
  readonly advice?: string
}

/** The longest delay of a Node timer in seconds, nearly 25 days. */
export const LONGEST_TIMER = 2_147_483

/** About 300 years in seconds. Longer lifetimes are a wrong unit, and could overflow. */
export const LONGEST_LIFETIME = 1e10

export function isNumber(unit: string, rule: NumberRule): Check<number> {
  const range =
    rule.min === -Infinity
      ? `up to ${rule.max}`
      : `from ${rule.above ? 'above ' : ''}${rule.min} to ${rule.max}`
  const expected = `${rule.whole ? 'a whole number' : 'a number'} of ${unit}, ${range}${rule.orInfinity ? ', or Infinity' : ''}`
  return (where, value) => {
    if (rule.orInfinity && value === Infinity) return value
    const fits =
      typeof value === 'number' &&
      (rule.above ? value > rule.min : value >= rule.min) &&
      value <= rule.max &&
      (!rule.whole || Number.isInteger(value)) &&
      value !== -Infinity
    if (fits) return value
    throw refuse(where, expected, value, rule.advice)
  }
}

export function isOneOf<const T extends string>(allowed: readonly T[], alternative?: string): Check<T> {
  const expected = `one of ${allowed.map((name) => `'${name}'`).join(', ')}${alternative ?? ''}`
  return (where, value) => {
    const found = allowed.find((name) => name === value)
    if (found !== undefined) return found
    throw refuse(where, expected, value)
  }
}

export function isObjectWith(value: unknown, methods: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const object = value as Record<string, unknown>
  return methods.every((method) => typeof object[method] === 'function')
}
