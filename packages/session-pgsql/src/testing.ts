/** The conformance suite: what any session store must do under overlapping requests, expiry and faults. */

export {
  type ConformanceCase,
  type ConformanceOutcome,
  checkConformance,
  conformanceCases,
} from './testing/conformance.ts'
export { edited } from './testing/edit.ts'
export { type ExpressSession, expressPlace, type OpenStore } from './testing/express-place.ts'
export type {
  CallbackStore,
  ConformancePlace,
  ConformanceSite,
  ConformanceSubject,
  Fault,
  StartOptions,
} from './testing/subject.ts'
