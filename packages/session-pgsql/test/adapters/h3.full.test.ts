import { describeGuarantees, startExample, WEB_SESSIONS } from './guarantees.ts'

describeGuarantees({
  ...WEB_SESSIONS,
  name: 'session-pgsql/h3',
  start: (options, pause) => startExample('h3', options, pause),
})
