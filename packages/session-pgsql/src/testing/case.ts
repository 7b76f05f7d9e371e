import type { CaseRun } from './case-run.ts'
import type { ConformanceSubject } from './subject.ts'

/** The optional parts of a subject that a case may need. */
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
  /** Short and stable: the key in `cannot`, and in tables. */
  readonly id: string
  /** What must hold, in one sentence. */
  readonly sentence: string
  readonly needs?: readonly SubjectNeed[]
  check(run: CaseRun): Promise<void>
}

/** Thrown by a case that cannot run, because the site lacks what it needs. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'

  constructor(need: string) {
    super(`The subject has no ${need}`)
  }
}

/** Returns true if the subject has the optional part. */
export function has(subject: ConformanceSubject, need: SubjectNeed): boolean {
  if (need in FAULTS) return subject.faults?.[FAULTS[need as keyof typeof FAULTS]] !== undefined
  return subject[need as Exclude<SubjectNeed, keyof typeof FAULTS>] !== undefined
}

const FAULTS = { 'faults.away': 'away', 'faults.silent': 'silent', 'faults.failing': 'failing' } as const
