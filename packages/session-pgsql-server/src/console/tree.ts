import {
  decodePhpSession,
  PhpCustom,
  PhpEnum,
  PhpFloat,
  PhpObject,
  PhpProperties,
  type PhpSessionFormat,
} from 'session-pgsql'
import type { SessionData } from './api.ts'

/** The maximum number of values in a tree, and its maximum depth. */
const MAX_VALUES = 20_000
const MAX_DEPTH = 100

/**
 * Decodes stored data into a tree of plain values. The text itself tells its format, because one table may hold
 * sessions of several programs with different codecs.
 *
 * @param first the configured codec, which is tried first
 * @returns the text instead of the tree if no format fits
 */
export function treeOf(text: string, first: unknown): SessionData {
  const bytes = Buffer.byteLength(text)
  const formats = ['json', 'php', 'php_serialize', 'php_binary'].sort(
    (one, other) => Number(other === first) - Number(one === first),
  )
  for (const format of formats) {
    try {
      return { data: plain(decode(text, format), new Budget()), bytes }
    } catch {
      // Try the next format.
    }
  }
  return { text, bytes }
}

function decode(text: string, format: string): unknown {
  if (format === 'json') return JSON.parse(text)
  if (text === '') throw new Error('Expected session data, received an empty text')
  return decodePhpSession(text, format as PhpSessionFormat)
}

class Budget {
  left = MAX_VALUES
}

/** Converts PHP values that JSON lacks: an object, for example, becomes a property with its class name. */
function plain(value: unknown, budget: Budget, depth = 0): unknown {
  if (--budget.left < 0 || depth > MAX_DEPTH) return '… (truncated)'
  const inner = (one: unknown): unknown => plain(one, budget, depth + 1)
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value !== 'object' || value === null) return value ?? null
  if (value instanceof PhpFloat) return value.value
  if (value instanceof PhpEnum) return `${value.className}::${value.caseName}`
  if (value instanceof PhpCustom) return { [`(${value.className})`]: binaryText(value.payload) }
  if (value instanceof PhpObject) return { [`(${value.className})`]: fromPairs(value.properties, inner) }
  if (value instanceof PhpProperties) return fromPairs(value, inner)
  if (value instanceof Uint8Array) return binaryText(value)
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map(inner)
  return fromPairs(Object.entries(value), inner)
}

function fromPairs(
  pairs: Iterable<readonly [unknown, unknown]>,
  inner: (value: unknown) => unknown,
): Record<string, unknown> {
  const names = new Set<string>()
  const named = (key: string): string => {
    // PHP puts NULs around the class of a private property; a parent class and its child may both have one.
    const [, owner, name = key] = /^\0(.*?)\0(.*)$/s.exec(key) ?? []
    const unique = names.has(name) && owner !== undefined ? `${name} (${owner})` : name
    names.add(unique)
    return unique
  }
  // fromEntries defines properties instead of assigning them, so a key may be __proto__.
  return Object.fromEntries([...pairs].map(([key, value]) => [named(String(key)), inner(value)]))
}

function binaryText(bytes: string | Uint8Array): string {
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1')
}
