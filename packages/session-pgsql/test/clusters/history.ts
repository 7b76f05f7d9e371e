/**
 * The history of operations on sessions that several processes share, and its check. Times are milliseconds of the
 * machine's monotonic clock, which all processes of the machine share.
 */
export interface Operation {
  readonly id: string
  readonly kind: 'create' | 'write' | 'touch' | 'read' | 'destroy'
  readonly begin: number
  readonly end: number
  /** `found`: the session was found, written or destroyed. */
  readonly outcome: 'found' | 'absent' | 'error'
  /** The code, with `error`. */
  readonly code?: string
  /** With `write`: the writer and the number of its write, which is stored as a key of its own. */
  readonly wrote?: readonly [writer: string, number: number]
  /** With a `read` of all that was acknowledged: what the session contains. */
  readonly contains?: Contents
}

/** The writes that a session contains. */
export interface Contents {
  /** By writer: the greatest number. */
  readonly last: Readonly<Record<string, number>>
  /** The keys that are missing below it. */
  readonly missing: readonly string[]
}

export const keyOf = (writer: string, number: number): string => `${writer}:${number}`

export function contentsOf(data: Readonly<Record<string, unknown>>): Contents {
  const last: Record<string, number> = {}
  for (const key of Object.keys(data)) {
    const [writer = '', number] = key.split(':')
    last[writer] = Math.max(last[writer] ?? 0, Number(number))
  }
  const missing = Object.entries(last).flatMap(([writer, most]) =>
    Array.from({ length: most }, (_, n) => keyOf(writer, n + 1)).filter((key) => !Object.hasOwn(data, key)),
  )
  return { last, missing }
}

/** Returns the time of this machine's monotonic clock, in milliseconds. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/**
 * Returns the violations, as sentences:
 *
 * - false absent: an operation began after the creation was acknowledged and ended before any destroy began, and did not
 *   find the session
 * - resurrection: an operation began after a destroy was acknowledged, and found the session
 * - lost: a read began after a write was acknowledged, and its result does not contain that write
 */
export function violationsOf(history: readonly Operation[]): string[] {
  const byId = new Map<string, Operation[]>()
  for (const operation of history) {
    const known = byId.get(operation.id)
    if (known === undefined) byId.set(operation.id, [operation])
    else known.push(operation)
  }
  return [...byId.values()].flatMap(violationsOfSession)
}

function violationsOfSession(history: readonly Operation[]): string[] {
  const earliest = (times: readonly number[]): number =>
    times.reduce((one, other) => Math.min(one, other), Number.POSITIVE_INFINITY)
  const of = (kind: Operation['kind']): Operation[] => history.filter((one) => one.kind === kind)
  const acknowledged = (operations: readonly Operation[]): number =>
    earliest(operations.filter(({ outcome }) => outcome !== 'error').map(({ end }) => end))
  const created = acknowledged(of('create'))
  const destroyed = acknowledged(of('destroy'))
  const destroyBegun = earliest(of('destroy').map(({ begin }) => begin))
  const writes = new Map<string, number>()
  for (const { wrote, outcome, end } of history) {
    if (wrote !== undefined && outcome === 'found') writes.set(keyOf(...wrote), end)
  }

  const violations: string[] = []
  for (const { id, kind, begin, end, outcome, contains } of history) {
    const where = `${id}: a ${kind} of ${begin.toFixed(1)} to ${end.toFixed(1)}`
    if (kind === 'create' || kind === 'destroy') continue
    if (outcome === 'absent' && begin > created && end < destroyBegun) {
      violations.push(`${where} did not find it, but its creation was acknowledged at ${created.toFixed(1)}`)
    }
    if (outcome === 'found' && begin > destroyed) {
      violations.push(`${where} found it, but its destroy was acknowledged at ${destroyed.toFixed(1)}`)
    }
    if (contains === undefined) continue
    const { last, missing } = contains
    const lost = (key: string): boolean => (writes.get(key) ?? Number.POSITIVE_INFINITY) < begin
    for (const key of writes.keys()) {
      const [writer = '', number] = key.split(':')
      if (Number(number) > (last[writer] ?? 0) && lost(key)) violations.push(`${where} lacks ${key}`)
    }
    for (const key of missing) if (lost(key)) violations.push(`${where} lacks ${key}`)
  }
  return violations
}
