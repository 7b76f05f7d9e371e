import { describeGuarantees, startExample } from './guarantees.ts'

describeGuarantees({
  name: 'NestJS',
  start: (options, pause) => startExample('nestjs', options, pause, 'site.ts'),
})
