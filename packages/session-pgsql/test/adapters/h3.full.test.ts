import { describeGuarantees, startExample } from './guarantees.ts'

/** By default the old id works for ten more seconds after the login, for requests in progress. */
const WITHIN_GRACE = 'The old id still works within the grace period'

describeGuarantees({
  name: 'session-pgsql/h3',
  lifetime: 86400,
  offers: ['users'],
  cannot: { 'new-id': WITHIN_GRACE, 'new-id-again': WITHIN_GRACE, 'new-id-slow': WITHIN_GRACE },
  start: (options, pause) => startExample('h3', options, pause),
})
