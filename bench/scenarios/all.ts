import type { Scenario } from '../setting.ts'
import { bigTable } from './big-table.ts'
import { hotSessions } from './hot-sessions.ts'
import { lockedRow } from './locked-row.ts'
import { oneSession } from './one-session.ts'
import { soak } from './soak.ts'
import { stalled } from './stalled.ts'
import { statementsSent } from './statements-sent.ts'
import { touches } from './touches.ts'
import { tune } from './tune.ts'

/** In the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [
  hotSessions,
  touches,
  lockedRow,
  oneSession,
  statementsSent,
  stalled,
  bigTable,
  soak,
  tune,
]

/** Those that take long, and run only when they are asked for. */
export const LONG: readonly Scenario[] = [bigTable, soak, tune]
