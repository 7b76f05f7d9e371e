import { createHash } from 'node:crypto'
import type { AuditEntry } from './api.ts'

/**
 * The chain of the audit log: each line has a number and the hash of the line before. A line that is changed, missing,
 * added or moved breaks the chain. To be sure of the last lines, compare them with a copy elsewhere.
 */

/** The end of a chain. */
export interface ChainEnd {
  readonly number: number
  /** SHA-256 of the last line without its end, in hexadecimal digits; empty before the first line. */
  readonly hash: string
}

export const CHAIN_START: ChainEnd = { number: 0, hash: '' }

/** Returns the line that follows the end of a chain, without its end of line. */
export function lineAfter({ number, hash }: ChainEnd, entry: AuditEntry): string {
  return JSON.stringify({ ...entry, number: number + 1, previous: hash })
}

/** Returns the end of a chain after a line; for an incomplete line, with the number that it should have. */
export function endAfter(end: ChainEnd, line: string): ChainEnd {
  const number = parse(line)?.number ?? end.number + 1
  return { number, hash: createHash('sha256').update(line).digest('hex') }
}

export interface Verification {
  /** The numbers of the first and the last line; undefined if there is no line. */
  readonly numbers: readonly [number, number] | undefined
  readonly end: ChainEnd
  /** One sentence for each break of the chain. */
  readonly problems: readonly string[]
  /** One sentence for each line that a crash has cut off: the last one, or one that the next line confirms. */
  readonly incomplete: readonly string[]
}

/** Verifies the lines of an audit log, the oldest first. The lines before the first one are unknown. */
export function verifyChain(lines: readonly string[]): Verification {
  const problems: string[] = []
  const incomplete: string[] = []
  let end: ChainEnd | undefined
  let first: number | undefined
  for (const [index, line] of lines.entries()) {
    const entry = parse(line)
    const where = `Line ${index + 1}`
    if (entry === undefined) {
      const next = parse(lines[index + 1] ?? '')
      const isLast = index === lines.length - 1
      if (isLast || next?.previous === endAfter(CHAIN_START, line).hash)
        incomplete.push(`${where} is incomplete.`)
      else problems.push(`${where} is not an entry of an audit log.`)
    } else if (end !== undefined) {
      if (entry.number > end.number + 1) {
        problems.push(`${where}: entries ${end.number + 1} to ${entry.number - 1} are missing before it.`)
      } else if (entry.number <= end.number) {
        problems.push(`${where}: entry ${entry.number} follows entry ${end.number}.`)
      } else if (entry.previous !== end.hash) {
        problems.push(`${where}: the entry before it was changed.`)
      }
    } else if (entry.number === 1 && entry.previous !== '') {
      problems.push(`${where}: entry 1 was changed.`)
    }
    end = endAfter(end ?? { number: (entry?.number ?? 1) - 1, hash: '' }, line)
    first ??= end.number
  }
  return {
    numbers: first === undefined || end === undefined ? undefined : [first, end.number],
    end: end ?? CHAIN_START,
    problems,
    incomplete,
  }
}

function parse(line: string): { readonly number: number; readonly previous: string } | undefined {
  try {
    const { number, previous } = JSON.parse(line)
    return Number.isSafeInteger(number) && number > 0 && typeof previous === 'string'
      ? { number, previous }
      : undefined
  } catch {
    return undefined
  }
}
