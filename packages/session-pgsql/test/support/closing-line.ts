import type { Reporter, SerializedError, TestModule, Vitest } from 'vitest/node'

/**
 * Ends a run with what was not run, and why, with what failed, also if it passed when it was repeated, and with one
 * plain line that a program can read: `1368 passed, 0 failed, 12 skipped`. A test file that does not load, and an error
 * outside of any test, count as one failure each.
 */
export default class ClosingLine implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const [lines, failures] = [[] as string[], errors.map(({ message }) => `failed: ${firstLine(message)}`)]
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result()
        counts[result.state]++
        if (result.state === 'skipped')
          lines.push(`not run: ${test.fullName}${result.note ? `: ${result.note}` : ''}`)
        if (result.state === 'passed' && test.diagnostic()?.flaky)
          failures.push(
            `failed once: ${module.relativeModuleId}: ${test.fullName}: ${firstLine(result.errors?.[0]?.message)}`,
          )
        if (result.state === 'failed')
          failures.push(
            `failed: ${module.relativeModuleId}: ${test.fullName}: ${firstLine(result.errors[0]?.message)}`,
          )
      }
      const noTestFailed = module.children.allTests('failed').next().done
      if (module.state() === 'failed' && noTestFailed) {
        counts.failed++
        const ofHooks = [...module.children.allSuites()].flatMap((suite) => suite.errors())
        const [error] = [...module.errors(), ...ofHooks]
        failures.push(`failed: ${module.relativeModuleId}: ${firstLine(error?.message)}`)
      }
    }
    const { project = [], testNamePattern } = this.#vitest?.config ?? {}
    // What -t leaves out is skipped, too.
    if (testNamePattern !== undefined) lines.length = 0
    if (modules.length === 0 && project.length > 0) {
      lines.push(
        `This command runs the projects ${project.join(' and ')} only. Use "npm run test:all -- FILE" to run a *.full.test.ts file.`,
      )
    }
    lines.push(...failures)
    const skipped = counts.skipped + counts.pending
    lines.push(`${counts.passed} passed, ${counts.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
    // Below what the other reporters write at the end.
    process.once('exit', () => console.log(lines.join('\n')))
  }
}

function firstLine(message = ''): string {
  return message.split('\n', 1)[0] as string
}
