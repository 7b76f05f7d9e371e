import { setTimeout as sleep } from 'node:timers/promises'
import { type Case, has, NotOffered } from './case.ts'
import { CaseRun } from './case-run.ts'
import { faultCases } from './faults.ts'
import { endCases, lifecycleCases } from './lifecycle.ts'
import { listCases, updateCases } from './lists.ts'
import { overlapCases } from './overlap.ts'
import type { ConformanceSubject } from './subject.ts'

/** One requirement for a session store, as a test of one subject. */
export interface ConformanceCase {
  /** Short and stable: `two-keys`, `sign-out`, … */
  readonly id: string
  /** What must hold, in one sentence. It serves as the name of a test. */
  readonly sentence: string
  /** Why the case does not apply to this subject; undefined if it does. */
  readonly leftOut: string | undefined
  /**
   * Runs the case. Rejects if the requirement does not hold, and with an error named `NotOffered` if the site lacks
   * what the case needs.
   */
  run(): Promise<void>
}

/** The outcome of a case. */
export interface ConformanceOutcome {
  readonly id: string
  readonly sentence: string
  /** `cannot`: the subject's `cannot` excludes the case. `untried`: the subject lacks what the case needs. */
  readonly outcome: 'holds' | 'fails' | 'cannot' | 'untried'
  /** The reason, unless the case holds. */
  readonly reason?: string
}

const CASES: readonly Case[] = [
  ...lifecycleCases,
  ...overlapCases,
  ...listCases,
  ...updateCases,
  ...endCases,
  ...faultCases,
]

/** Milliseconds after which a case fails. */
const LIMIT = 180_000

/**
 * Returns all cases, to run with any test runner:
 *
 * ```js
 * for (const { sentence, leftOut, run } of conformanceCases(subject)) test(sentence, { skip: leftOut }, run)
 * ```
 *
 * Run them one after the other. They take minutes at most, and leave their sessions in the store.
 */
export function conformanceCases(subject: ConformanceSubject): ConformanceCase[] {
  return CASES.map(({ id, sentence, needs = [], check }) => {
    const missing = needs.filter((need) => !has(subject, need))
    return {
      id,
      sentence,
      leftOut:
        subject.cannot?.[id] ?? (missing.length > 0 ? `The subject has no ${missing.join(', ')}` : undefined),
      async run() {
        const caseRun = new CaseRun(subject)
        try {
          await check(caseRun)
        } finally {
          await caseRun.end()
        }
      },
    }
  })
}

/**
 * Runs all cases one after the other, without a test runner.
 *
 * @param onOutcome called with each outcome as soon as it is known
 */
export async function checkConformance(
  subject: ConformanceSubject,
  onOutcome?: (outcome: ConformanceOutcome) => void,
): Promise<ConformanceOutcome[]> {
  const outcomes: ConformanceOutcome[] = []
  for (const each of conformanceCases(subject)) {
    const outcome = { id: each.id, sentence: each.sentence, ...(await outcomeOf(each, subject)) }
    outcomes.push(outcome)
    onOutcome?.(outcome)
  }
  return outcomes
}

async function outcomeOf(
  { id, leftOut, run }: ConformanceCase,
  { cannot }: ConformanceSubject,
): Promise<Pick<ConformanceOutcome, 'outcome' | 'reason'>> {
  if (leftOut !== undefined) return { outcome: cannot?.[id] ? 'cannot' : 'untried', reason: leftOut }
  const aborter = new AbortController()
  const timeout = sleep(LIMIT, undefined, { signal: aborter.signal }).then(() => {
    throw new Error(`The case did not finish within ${LIMIT / 1000} seconds`)
  })
  try {
    await Promise.race([run(), timeout])
    return { outcome: 'holds' }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { outcome: error instanceof NotOffered ? 'untried' : 'fails', reason }
  } finally {
    timeout.catch(() => {})
    aborter.abort()
  }
}
