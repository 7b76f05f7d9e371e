import type { Reporter, SerializedError, TestModule, Vitest } from 'vitest/node'

/**
 * Ends a run with one plain line that a program can read: `1368 passed, 0 failed, 12 skipped`. A test file that does
 * not load, and an error outside of any test, count as a failure each.
 */
export default class ClosingLine implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state]++
      const alone = [...module.children.allTests('failed')].length === 0
      if (alone && module.state() === 'failed') counts.failed++
    }
    const left = this.#vitest?.config.project
    if (modules.length === 0 && left?.length) {
      console.error(
        `This command runs the projects ${left.join(' and ')} only. To run one of the *.full.test.ts files, use "npm run test:all -- FILE".`,
      )
    }
    // Below what the other reporters have to say at the end.
    process.once('exit', () => console.log(closingLine(counts)))
  }
}

function closingLine({ passed, failed, skipped, pending }: Record<string, number>): string {
  const left = (skipped ?? 0) + (pending ?? 0)
  return `${passed} passed, ${failed} failed${left > 0 ? `, ${left} skipped` : ''}`
}
