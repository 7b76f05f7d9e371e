import { setTimeout as sleep } from 'node:timers/promises'
import { type Case, has, NotOffered } from './case.ts'
import { faultCases } from './faults.ts'
import { endCases, lifeCases } from './life.ts'
import { overlapCases } from './overlap.ts'
import type { ConformanceSubject } from './subject.ts'
import { Visit } from './visit.ts'

/** One thing that a session store must do, to be tried on one subject. */
export interface ConformanceCase {
  /** Short and stable: `two-keys`, `sign-out`, … */
  readonly id: string
  /** What must hold, in one sentence: a name for a test. */
  readonly sentence: string
  /** Why it is not to be tried on this subject; `undefined`: it is. */
  readonly leftOut: string | undefined
  /** Rejects if it does not hold; with an error named `NotOffered` if the site lacks what is to be tried. */
  run(): Promise<void>
}

/** What came of a case. */
export interface ConformanceOutcome {
  readonly id: string
  readonly sentence: string
  /** `cannot`: the subject says why; `untried`: it lacks what the case needs. */
  readonly outcome: 'holds' | 'fails' | 'cannot' | 'untried'
  /** Why not, unless it holds. */
  readonly reason?: string
}

const CASES: readonly Case[] = [...lifeCases, ...overlapCases, ...endCases, ...faultCases]

/** After this many milliseconds a case has failed. */
const LIMIT = 180_000

/**
 * All cases, for the test runner of your choice:
 *
 * ```js
 * for (const { sentence, leftOut, run } of conformanceCases(subject)) test(sentence, { skip: leftOut }, run)
 * ```
 *
 * They need minutes at most, run one after the other, and leave sessions behind.
 */
export function conformanceCases(subject: ConformanceSubject): ConformanceCase[] {
  return CASES.map(({ id, sentence, needs = [], check }) => {
    const missing = needs.filter((need) => !has(subject, need))
    return {
      id,
      sentence,
      leftOut: subject.cannot?.[id] ?? (missing.length > 0 ? `It has no ${missing.join(', ')}` : undefined),
      async run() {
        const visit = new Visit(subject)
        try {
          await check(visit)
        } finally {
          await visit.end()
        }
      },
    }
  })
}

/**
 * Runs all cases one after the other, without a test runner.
 *
 * @param onOutcome is told each outcome as soon as it is known
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
  const given = new AbortController()
  const late = sleep(LIMIT, undefined, { signal: given.signal }).then(() => {
    throw new Error(`Not within ${LIMIT / 1000} seconds`)
  })
  try {
    await Promise.race([run(), late])
    return { outcome: 'holds' }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { outcome: error instanceof NotOffered ? 'untried' : 'fails', reason }
  } finally {
    late.catch(() => {})
    given.abort()
  }
}
