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

/** Most values of a tree that are shown. */
const MOST_VALUES = 20_000
const DEEPEST = 100

/**
 * The stored data as a tree of plain values. Whoever wrote it, in which format, is seen from the text: sites with
 * several writers are looked at by one console.
 *
 * @param first the format in force, which is tried first
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
      // Another format, or none.
    }
  }
  return { text, bytes }
}

function decode(text: string, format: string): unknown {
  if (format === 'json') return JSON.parse(text)
  if (text === '') throw new Error('An emptied session is no variables of PHP')
  return decodePhpSession(text, format as PhpSessionFormat)
}

class Budget {
  left = MOST_VALUES
}

/** PHP's values that JSON has none for are shown under what they are called. */
function plain(value: unknown, budget: Budget, depth = 0): unknown {
  if (--budget.left < 0 || depth > DEEPEST) return '… (too much to show)'
  const inner = (one: unknown): unknown => plain(one, budget, depth + 1)
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value !== 'object' || value === null) return value ?? null
  if (value instanceof PhpFloat) return value.value
  if (value instanceof PhpEnum) return `${value.className}::${value.caseName}`
  if (value instanceof PhpCustom) return { [`(${value.className})`]: shown(value.payload) }
  if (value instanceof PhpObject) return { [`(${value.className})`]: fromPairs(value.properties, inner) }
  if (value instanceof PhpProperties) return fromPairs(value, inner)
  if (value instanceof Uint8Array) return shown(value)
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
    // Private properties of PHP have NULs around the class; a parent's may be called as its child's.
    const [, owner, name = key] = /^\0(.*?)\0(.*)$/s.exec(key) ?? []
    const whole = names.has(name) && owner !== undefined ? `${name} (${owner})` : name
    names.add(whole)
    return whole
  }
  // By definition, not assignment: a key may be __proto__.
  return Object.fromEntries([...pairs].map(([key, value]) => [named(String(key)), inner(value)]))
}

function shown(bytes: string | Uint8Array): string {
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1')
}
