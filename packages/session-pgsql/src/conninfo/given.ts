import type { SessionPgsqlError } from '../errors.ts'
import { KEYWORDS } from './keywords.ts'
import { readService, type Service } from './service-file.ts'
import { invalid, parsePairs } from './syntax.ts'

/** The settings of one connection string, from all sources. */
export interface Given {
  /** The source of the connection string. */
  readonly origin: string
  read(keyword: string): string | undefined
  originOf(keyword: string): string
  /** Returns an error for the value of a keyword. */
  invalid(keyword: string, message: string): SessionPgsqlError
  /** Returns the source of a keyword's value in parentheses; empty if it is the connection string. */
  from(keyword: string): string
}

/** As in libpq: values of the string, even empty ones, come before the service file, and that before the environment. */
export function givenSettings(
  text: string,
  environment: Record<string, string | undefined>,
  origin: string,
  afterPassword: boolean,
): Given {
  const pairs = parsePairs(text, origin, afterPassword)
  let service: Service | undefined
  const find = (keyword: string): { readonly value: string; readonly origin: string } | undefined => {
    const own = pairs.get(keyword)
    if (own !== undefined) return { value: own, origin }
    const served = service?.pairs.get(keyword)
    if (service !== undefined && served !== undefined) return { value: served, origin: service.origin }
    const variable = KEYWORDS[keyword]?.variable ?? ''
    const value = environment[variable]
    return value === undefined ? undefined : { value, origin: `environment variable ${variable}` }
  }
  const name = find('service')
  if (name?.value) {
    service = readService(name.value, find('servicefile')?.value, environment, name.origin)
  }
  const originOf = (keyword: string): string => find(keyword)?.origin ?? origin
  return {
    origin,
    read: (keyword) => find(keyword)?.value,
    originOf,
    invalid(keyword, message) {
      const from = originOf(keyword)
      const isOverridable = from !== origin && from.startsWith('environment')
      const advice = isOverridable ? `. Unset the variable, or set ${keyword} in db, which overrides it` : ''
      return invalid(from, `${keyword}: ${message}${advice}`)
    },
    from: (keyword) => (originOf(keyword) === origin ? '' : ` (${originOf(keyword)})`),
  }
}

/** Returns the value of a keyword, which must be one of `allowed`. */
export function oneOf<T extends string>(given: Given, keyword: string, fallback: T, allowed: readonly T[]): T
export function oneOf<T extends string>(
  given: Given,
  keyword: string,
  fallback: T | undefined,
  allowed: readonly T[],
): T | undefined
export function oneOf<T extends string>(
  given: Given,
  keyword: string,
  fallback: T | undefined,
  allowed: readonly T[],
): T | undefined {
  const value = given.read(keyword)
  if (value === undefined || value === '') return fallback
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw given.invalid(keyword, `expected one of ${allowed.join(', ')}`)
  return found
}

/** Returns the whole number that a keyword is set to; undefined if it is unset. */
export function integer(given: Given, keyword: string): number | undefined {
  const value = given.read(keyword)?.trim()
  if (value === undefined || value === '') return undefined
  if (!/^[+-]?\d{1,9}$/.test(value)) throw given.invalid(keyword, 'expected a whole number')
  return Number(value)
}

/** As in libpq, zero and negative values mean unset. */
export function positive(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined
}
