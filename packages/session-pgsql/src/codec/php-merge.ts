/** What a merge must know about PHP's values. */
import { haveSameIdentity } from './identity.ts'
import { type ElementNames, nameUnique } from './list-names.ts'
import { merge, type ValueRules } from './merge.ts'
import { ABSENT, type ElementRules, mergeLists } from './merge-lists.ts'
import { carryReferences, referenceGroups } from './php-memory.ts'
import { formatFloat } from './php-numbers.ts'
import { arrayOf, isPlain } from './php-shapes.ts'
import { kindOf, PhpArray, PhpCustom, PhpEnum, PhpFloat, type PhpKey, PhpObject } from './php-values.ts'
import { samePhpValue, sameVariables } from './php-writer.ts'
import { mergeSequences } from './sequences.ts'

type Variables = Record<string, unknown>

/** The JavaScript values that a PHP array can become. */
type Shape = unknown[] | Variables | PhpArray

/** The pairs of a PHP array, in its order. */
type Entries = ReadonlyMap<PhpKey, unknown>

/**
 * Merges three versions of `$_SESSION` as `merge` does, and besides:
 *
 * - Variables that references or shared objects tie together are taken from one side.
 * - In an array that is not a list, integer keys identify the elements. If both sides pushed different values, and so
 *   gave them one key, theirs keeps it and ours gets the next free one.
 * - Objects of classes are taken whole.
 */
export function mergeVariables(ours: Variables, theirs: Variables, base: Variables): Variables {
  const tied = [ours, theirs, base].flatMap(referenceGroups)
  return merge(ours, theirs, base, {
    tied,
    sameTied: sameVariables,
    carry: carryReferences,
    values: phpValues,
  })
}

const phpValues: ValueRules = {
  isSame: (one, other) => Object.is(one, other) || samePhpValue(one, other),
  isNumber: (value) => typeof value === 'number' || value instanceof PhpFloat,
  fieldsOf: (value) => (isArray(value) && !Array.isArray(value) ? keysOf(value).map(String) : undefined),
  readField(value, field) {
    if (value instanceof PhpArray || value instanceof PhpObject) return value.get(field)
    return isArray(value) && Object.hasOwn(value, field) ? (value as Variables)[field] : undefined
  },
  kindOf: (value) => (isArray(value) ? 'array' : undefined),
  mergeParts: (ours, theirs, base = [], rules) =>
    mergeArrays(ours as Shape, theirs as Shape, base as Shape, rules),
  describe(value, partOf) {
    const pairsOf = (pairs: Iterable<readonly [PhpKey, unknown]>, count: number): string =>
      `${count},${Array.from(pairs, ([key, element]) => partOf(key) + partOf(element)).join('')}`
    if (isArray(value)) {
      const entries = entriesOf(value)
      return `a${pairsOf(entries, entries.size)}`
    }
    if (value instanceof PhpFloat) return `d${formatFloat(value.value)}`
    if (value instanceof PhpObject) {
      return `O${partOf(value.className)}${pairsOf(value.properties, value.properties.size)}`
    }
    if (value instanceof PhpEnum) return `E${partOf(value.className)}${partOf(value.caseName)}`
    if (value instanceof PhpCustom) return `C${partOf(value.className)}${partOf(value.payload)}`
    return value instanceof Uint8Array ? `s${Buffer.from(value).toString('latin1')}` : undefined
  },
}

function isArray(value: unknown): value is Shape {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || kindOf(value) === 'array' || (kindOf(value) === undefined && isPlain(value))
}

function keysOf(array: Shape): PhpKey[] {
  return array instanceof PhpArray ? [...array.keys()] : Object.keys(array)
}

function entriesOf(array: Shape): Entries {
  if (Array.isArray(array)) return new Map(array.entries())
  return new Map(array instanceof PhpArray ? array.pairs : Object.entries(array))
}

function mergeArrays(ours: Shape, theirs: Shape, base: Shape, rules: ElementRules): Shape {
  // Unchanged, it keeps its floats' spelling; see php-memory.ts.
  if (rules.canonical.isEqual(ours, base)) return theirs
  if (rules.canonical.isEqual(theirs, base)) return ours
  if (Array.isArray(ours) && Array.isArray(theirs) && Array.isArray(base)) {
    return mergeLists(ours, theirs, base, rules) as unknown[]
  }
  const [our, their, before] = [entriesOf(ours), entriesOf(theirs), entriesOf(base)]
  const isIndexed = [our, their, before].every((entries) => [...entries.keys()].every(isInteger))
  if (isIndexed && (isRenumbered(ours, before, rules) || isRenumbered(theirs, before, rules))) {
    return mergeLists([...our.values()], [...their.values()], [...before.values()], rules) as unknown[]
  }
  return mergePairs(movePushed(our, their, before, rules), their, before, rules)
}

/** Whether elements of the base have other keys in this list, as after `sort` and `array_values`: keys say nothing then. */
function isRenumbered(array: Shape, base: Entries, { canonical }: ElementRules): boolean {
  if (!Array.isArray(array)) return false
  const keys = new Map<unknown, PhpKey>()
  for (const [key, value] of base) keys.set(canonical.nameOf(value), key)
  return array.some((value, place) => {
    const key = keys.get(canonical.nameOf(value))
    return key !== undefined && key !== place && !canonical.isEqual(array[Number(key)], value)
  })
}

/** Merges arrays whose keys identify their elements. */
function mergePairs(ours: Entries, theirs: Entries, base: Entries, rules: ElementRules): Shape {
  const [ourKeys, theirKeys, baseKeys] = [ours, theirs, base].map((entries) => [...entries.keys()]) as Keys
  const names = nameUnique({ ours: ourKeys, theirs: theirKeys, base: baseKeys }) as ElementNames
  const { order, inOurs, inTheirs } = mergeSequences({ ...names, isHead: true, isTail: true }, false)
  const keyOf = (name: number): PhpKey =>
    ourKeys[inOurs[name] as number] ?? (theirKeys[inTheirs[name] as number] as PhpKey)
  const keys = order.map(keyOf)
  const values = keys.map((key) => {
    if (!ours.has(key)) return theirs.get(key)
    if (!theirs.has(key)) return ours.get(key)
    return rules.merge(ours.get(key), theirs.get(key), base.has(key) ? base.get(key) : ABSENT)
  })
  return arrayOf(keys, values)
}

type Keys = [ours: PhpKey[], theirs: PhpKey[], base: PhpKey[]]

/** Gives new keys to what ours pushed, if theirs pushed something else and so used one of its keys. */
function movePushed(ours: Entries, theirs: Entries, base: Entries, rules: ElementRules): Entries {
  const first = nextKey(base.keys())
  const isOneElement = (key: number): boolean => {
    const [our, their] = [ours.get(key), theirs.get(key)]
    return rules.canonical.isEqual(our, their) || haveSameIdentity(our, their, rules.readField) === true
  }
  let end = first
  let isUsed = false
  for (; ours.has(end); end++) isUsed ||= theirs.has(end) && !isOneElement(end)
  if (!isUsed) return ours
  const isPushed = (key: PhpKey): key is number => typeof key === 'number' && key >= first && key < end
  let free = nextKey([...theirs.keys(), ...[...ours.keys()].filter((key) => !isPushed(key))])
  return new Map(
    [...ours].map(([key, value]) =>
      isPushed(key) && !(theirs.has(key) && isOneElement(key)) ? [free++, value] : [key, value],
    ),
  )
}

/** The key that PHP gives to what is pushed; Infinity if there is none. */
function nextKey(keys: Iterable<PhpKey>): number {
  let next = 0
  for (const key of keys) {
    if (typeof key === 'number' && key >= next) next = key + 1
    if (typeof key === 'bigint' && key > 0) return Number.POSITIVE_INFINITY
  }
  return next
}

function isInteger(key: PhpKey): boolean {
  return typeof key !== 'string'
}
