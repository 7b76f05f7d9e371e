import type { Scenario } from '../context.ts'
import { announcements } from './announcements.ts'
import { bigTable } from './big-table.ts'
import { encryption } from './encryption.ts'
import { hotSessions } from './hot-sessions.ts'
import { lockedRow } from './locked-row.ts'
import { oneSession } from './one-session.ts'
import { soak } from './soak.ts'
import { stalled } from './stalled.ts'
import { statementsSent } from './statements-sent.ts'
import { touches } from './touches.ts'
import { tune } from './tune.ts'

/** Every scenario, in the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [
  hotSessions,
  touches,
  lockedRow,
  oneSession,
  statementsSent,
  encryption,
  announcements,
  stalled,
  bigTable,
  soak,
  tune,
]

/** Scenarios that take long and run only on request. */
export const LONG: readonly Scenario[] = [bigTable, soak, tune]
