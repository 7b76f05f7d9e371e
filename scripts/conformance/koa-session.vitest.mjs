import { hostConfig } from './vitest.mjs'

export default hostConfig({
  include: ['test/store.test.ts', 'test/externalkey.test.ts'],
  replace: { 'test/store': 'koa-session-store.mjs' },
})
