import { test } from 'vitest'
import { laterNode } from '../support/programs.ts'
import { describeGuarantees } from './guarantees.ts'
import { startSiteProcess } from './site-process.ts'

const node = laterNode()

if (node === undefined) test.skip('AdonisJS needs Node.js 24: this one, or node24 in the PATH')
else {
  describeGuarantees({
    name: 'session-pgsql/adonis',
    lifetime: 7200,
    offers: ['users'],
    inProcesses: true,
    cannot: { 'ended-id': 'AdonisJS begins a new session under the id of the browser’s cookie' },
    start: (options, pause) =>
      startSiteProcess({ name: 'adonis', command: [node, 'bin/server.js'] }, options, pause),
  })
}
