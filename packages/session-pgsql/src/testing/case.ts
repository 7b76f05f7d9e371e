import type { ConformanceSubject } from './subject.ts'
import type { Visit } from './visit.ts'

/** What of a subject a case cannot do without. */
export type SubjectNeed =
  | 'lifetime'
  | 'passTime'
  | 'fingerprint'
  | 'faults.away'
  | 'faults.silent'
  | 'faults.failing'
  | 'setTimeZone'
  | 'emptyPlace'

export interface Case {
  /** Short and stable, for `cannot` and for tables. */
  readonly id: string
  /** What must hold, in one sentence. */
  readonly sentence: string
  readonly needs?: readonly SubjectNeed[]
  check(visit: Visit): Promise<void>
}

/** A case that cannot be tried, for the site turns out to lack what it needs. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'

  constructor(need: string) {
    super(`It has no ${need}`)
  }
}

/** Whether the subject has it. */
export function has(subject: ConformanceSubject, need: SubjectNeed): boolean {
  if (need in FAULTS) return subject.faults?.[FAULTS[need as keyof typeof FAULTS]] !== undefined
  return subject[need as Exclude<SubjectNeed, keyof typeof FAULTS>] !== undefined
}

const FAULTS = { 'faults.away': 'away', 'faults.silent': 'silent', 'faults.failing': 'failing' } as const
