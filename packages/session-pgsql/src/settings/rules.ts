import type { Codec } from '../codec/codec.ts'
import { Columns } from '../session/columns.ts'
import { DEFAULT_ID_PATTERN, PHP_ID_PATTERN } from '../session/id.ts'
import { MAX_EXPIRY_GRACE } from '../session/stored.ts'
import type { IdsMode } from '../session/stored-id.ts'
import {
  type Check,
  isBoolean,
  isNumber,
  isObjectWith,
  isOneOf,
  LONGEST_LIFETIME,
  LONGEST_TIMER,
  refuse,
} from './checks.ts'
import { columns, columnsText } from './columns.ts'
import type { CodecName, ConflictFunction, ConflictRule, Logger } from './options.ts'
import { type TableName, tableName } from './table-name.ts'

/** How one option is read. `db` has no rule, because it has further sources. */
export interface Rule<T> {
  readonly check: Check<T>
  /** Converts a text of a php.ini or of the environment. Returns a text that it cannot convert unchanged, for `check` to reject. */
  readonly fromText: (text: string) => unknown
  readonly fallback: T
  /** PHP's directives that apply if `session_pgsql.…` is not set. */
  readonly directives?: readonly string[]
}

/** Booleans as written in php.ini and shells. */
function booleanText(text: string): unknown {
  if (/^(?:1|on|yes|true)$/i.test(text)) return true
  return /^(?:0|off|no|false|none|null|)$/i.test(text) ? false : text
}

function numberText(text: string): unknown {
  if (/^[+-]?inf(?:inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity
  return /^[+-]?(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : text
}

function flag(fallback: boolean): Rule<boolean> {
  return { check: isBoolean, fromText: booleanText, fallback }
}

function number<F extends number | undefined>(
  fallback: F,
  check: Check<number>,
  directives: readonly string[] = [],
): Rule<number | F> {
  return { check, fromText: numberText, fallback, directives }
}

/** Returns the pattern for whole ids, without state. */
function idPattern(where: string, value: unknown): RegExp {
  if (value === 'php') return PHP_ID_PATTERN
  if (!(value instanceof RegExp)) throw refuse(where, "a RegExp, or 'php'", value)
  // Removes the flags that make a test depend on the previous one or on lines.
  return new RegExp(`^(?:${value.source})$`, value.flags.replaceAll(/[gmyd]/g, ''))
}

function idPatternText(text: string): unknown {
  if (text === 'php') return text
  try {
    return new RegExp(text)
  } catch {
    return text
  }
}

function sessionName(where: string, value: unknown): string {
  if (typeof value === 'string' && /^[^\s\p{Cc}\p{Cs};=,]{1,256}$/u.test(value)) return value
  throw refuse(where, 'a session name of 1 to 256 characters without blanks, comma, semicolon or "="', value)
}

const CODECS = ['json', 'php', 'php_serialize', 'php_binary'] as const

function codec(where: string, value: unknown): CodecName | Codec<unknown> {
  if (typeof value !== 'object' || value === null) {
    return isOneOf(CODECS, ', or an object with name, encode and decode')(where, value)
  }
  const isCodec =
    isObjectWith(value, ['encode', 'decode']) && typeof value.name === 'string' && value.name !== ''
  const { merge } = value as Partial<Codec<unknown>>
  if (isCodec && (merge === undefined || typeof merge === 'function')) {
    return value as unknown as Codec<unknown>
  }
  throw refuse(
    where,
    'an object with name (string), encode and decode (functions), and optionally merge (function)',
    value,
  )
}

function conflict(where: string, value: unknown): ConflictRule | ConflictFunction<unknown> {
  if (typeof value === 'function') return value as ConflictFunction<unknown>
  return isOneOf(['merge', 'overwrite', 'error'], ', or a function (ours, theirs, base) => data')(
    where,
    value,
  )
}

const SILENT: Logger = Object.freeze({ debug() {}, info() {}, warn() {}, error() {} })

/** Writes only warnings and errors. */
const STDERR: Logger = Object.freeze({
  debug() {},
  info() {},
  warn: (message: string, error?: unknown) => console.warn(logLine(message, error)),
  error: (message: string, error?: unknown) => console.error(logLine(message, error)),
})

function logLine(message: string, error: unknown): string {
  const reason = error === undefined ? '' : `: ${error instanceof Error ? error.message : String(error)}`
  return `session_pgsql: ${message}${reason}`
}

function logger(where: string, value: unknown): Logger {
  if (value === false) return SILENT
  if (value === true) return STDERR
  if (isObjectWith(value, ['debug', 'info', 'warn', 'error'])) return value as unknown as Logger
  throw refuse(where, 'an object with debug, info, warn and error (functions), or false', value)
}

const lifetime = { max: LONGEST_LIFETIME, min: 0 }

/** The rules of all options except `db`, in the order in which `status()` shows them. */
export const RULES: Rules = {
  table: {
    check: tableName,
    fromText: (text) => text,
    fallback: Object.freeze({ schema: undefined, name: 'php_session' }),
  },
  createTable: flag(true),
  failoverMode: flag(false),
  shortCircuit: flag(false),
  refreshAfter: number(undefined, isNumber('seconds', { ...lifetime, orInfinity: true })),
  keepExpired: flag(false),
  keepExpiredFor: number(Infinity, isNumber('seconds', { ...lifetime, orInfinity: true })),
  expiryGrace: number(60, isNumber('seconds', { min: 0, max: MAX_EXPIRY_GRACE })),
  maxLifetime: number(Infinity, isNumber('seconds', { ...lifetime, above: true, orInfinity: true })),
  durableTouches: flag(false),
  announce: flag(false),
  gcInterval: number(
    3600,
    isNumber('seconds', {
      min: -Infinity,
      max: LONGEST_TIMER,
      advice: '0 means never, a negative number means after every access',
    }),
  ),
  gcMaxlifetime: number(1440, isNumber('seconds', { ...lifetime, above: true }), ['session.gc_maxlifetime']),
  name: { check: sessionName, fromText: (text) => text, fallback: 'PHPSESSID', directives: ['session.name'] },
  codec: {
    check: codec,
    fromText: (text) => text,
    fallback: 'json',
    directives: ['session.serialize_handler'],
  },
  conflict: { check: conflict, fromText: (text) => text, fallback: 'merge' },
  columns: { check: columns, fromText: columnsText, fallback: new Columns() },
  batch: flag(true),
  operationTimeout: number(5, isNumber('seconds', { min: 0, above: true, max: LONGEST_TIMER })),
  poolSize: number(10, isNumber('connections', { min: 1, max: 10_000, whole: true })),
  idPattern: { check: idPattern, fromText: idPatternText, fallback: DEFAULT_ID_PATTERN },
  ids: { check: isOneOf(['plain', 'migrate', 'hashed']), fromText: (text) => text, fallback: 'plain' },
  whenHomeIsDown: { check: isOneOf(['absent', 'error']), fromText: (text) => text, fallback: 'absent' },
  logger: { check: logger, fromText: booleanText, fallback: STDERR },
}

interface Rules {
  readonly table: Rule<TableName>
  readonly createTable: Rule<boolean>
  readonly failoverMode: Rule<boolean>
  readonly shortCircuit: Rule<boolean>
  readonly refreshAfter: Rule<number | undefined>
  readonly keepExpired: Rule<boolean>
  readonly keepExpiredFor: Rule<number>
  readonly expiryGrace: Rule<number>
  readonly maxLifetime: Rule<number>
  readonly durableTouches: Rule<boolean>
  readonly announce: Rule<boolean>
  readonly gcInterval: Rule<number>
  readonly gcMaxlifetime: Rule<number>
  readonly name: Rule<string>
  readonly codec: Rule<CodecName | Codec<unknown>>
  readonly conflict: Rule<ConflictRule | ConflictFunction<unknown>>
  readonly columns: Rule<Columns>
  readonly batch: Rule<boolean>
  readonly operationTimeout: Rule<number>
  readonly poolSize: Rule<number>
  readonly idPattern: Rule<RegExp>
  readonly ids: Rule<IdsMode>
  readonly whenHomeIsDown: Rule<'absent' | 'error'>
  readonly logger: Rule<Logger>
}
