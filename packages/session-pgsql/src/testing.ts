/** What a session store must do under overlap, expiry and faults, as cases that any store can be held against. */

export {
  type ConformanceCase,
  type ConformanceOutcome,
  checkConformance,
  conformanceCases,
} from './testing/conformance.ts'
export { type ExpressSession, expressPlace, type OpenStore } from './testing/express-place.ts'
export type {
  CallbackStore,
  ConformancePlace,
  ConformanceSite,
  ConformanceSubject,
  Fault,
  StartOptions,
} from './testing/subject.ts'
