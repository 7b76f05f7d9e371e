import { frameworkConfig } from './vitest.mjs'

/** The test of the memory driver, which is replaced. */
export default frameworkConfig({
  include: ['test/drivers/memory.test.ts'],
  replace: { 'src/drivers/memory': 'unstorage-driver.mjs' },
})
