import { describeGuarantees, startExample } from './guarantees.ts'

describeGuarantees({
  name: 'NestJS',
  lifetime: 3600,
  start: (options, pause) => startExample('nestjs', options, pause, 'site.ts'),
})
