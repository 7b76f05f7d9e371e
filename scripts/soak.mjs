/**
 * Looks for tests that fail now and then: runs `npm test` and `npm run test:all` several times in a row, the last two
 * runs of `npm test` while another process keeps one core busy. Prints the output of every run that fails.
 *
 *   npm run test:soak -- 20      20 times npm test
 *   npm run test:soak -- 20 5    then 5 times npm run test:all
 */
import { spawn } from 'node:child_process'
import process from 'node:process'

const counts = process.argv.slice(2).map(Number)
const [quick = 20, all = 0] = counts
if (counts.length > 2 || counts.some((count) => !Number.isInteger(count) || count < 0)) {
  console.error(
    'Usage: npm run test:soak -- [RUNS OF npm test, default 20] [RUNS OF npm run test:all, default 0]',
  )
  process.exit(2)
}

/** Runs a script of package.json; resolves with what it wrote and whether it passed. */
function run(script) {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', ['run', script], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    }
    child.on('error', reject)
    child.on('close', (code) => resolve({ output, passed: code === 0 }))
  })
}

const runs = [
  ...Array.from({ length: quick }, (_, n) => ({ script: 'test', busy: n >= quick - 2 })),
  ...Array.from({ length: all }, () => ({ script: 'test:all', busy: false })),
]
let failed = 0
for (const [index, { script, busy }] of runs.entries()) {
  const begun = performance.now()
  const spinner = busy ? spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }) : undefined
  const { output, passed } = await run(script).finally(() => spinner?.kill())
  const seconds = Math.round((performance.now() - begun) / 1000)
  if (!passed) {
    failed++
    console.log(output)
  }
  const how = busy ? ', one core busy' : ''
  console.log(
    `${index + 1}/${runs.length} npm run ${script}${how}: ${passed ? 'passed' : 'FAILED'} in ${seconds} s: ${output.trimEnd().split('\n').at(-1)}`,
  )
}
console.log(`${runs.length - failed} runs passed, ${failed} runs failed`)
process.exitCode = failed > 0 ? 1 : 0
