import { hostConfig } from './vitest.mjs'

/** The test of another driver, which this one takes the place of. */
export default hostConfig({
  include: ['test/drivers/memory.test.ts'],
  replace: { 'src/drivers/memory': 'unstorage-driver.mjs' },
})
