import { frameworkConfig } from './vitest.mjs'

export default frameworkConfig({
  include: ['test/store.test.ts', 'test/externalkey.test.ts'],
  replace: { 'test/store': 'koa-session-store.mjs' },
})
