/**
 * Runs the quick tests of the library (core and adapters) on each runtime that is supported. The runtimes come from npm.
 *
 * usage: node test-runtimes.mjs [RUNTIME...] [-- VITEST ARGUMENTS]
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { install } from './install.mjs'

/** By name: the package, its program, and the arguments before the script's. */
const RUNTIMES = {
  'node-22': { package: 'node@22', programs: ['node/bin/node'], args: [] },
  'node-24': { package: 'node@24', programs: ['node/bin/node'], args: [] },
  node: { package: 'node@latest', programs: ['node/bin/node'], args: [] },
  // Without --bun, vitest would start its processes with Node.
  bun: { package: 'bun@latest', programs: ['bun/bin/bun.exe', 'bun/bin/bun'], args: ['--bun'] },
  deno: { package: 'deno@latest', programs: ['deno/deno', 'deno/deno.exe'], args: ['run', '-A'] },
}

/** The core and every adapter; the other tests are about the repository, or start programs of Node. */
const TESTS = ['handler/', 'adapters/', 'express/', 'codec/', 'database/', 'servers/', 'diagnostics'].map(
  (path) => `packages/session-pgsql/test/${path}`,
)

const [names, args] = split(process.argv.slice(2))
const wanted = names.length > 0 ? names : Object.keys(RUNTIMES)
const outcomes = wanted.map((name) => [name, run(name)])
for (const [name, passed] of outcomes) console.log(`${name}: ${passed ? 'passed' : 'FAILED'}`)
if (outcomes.some(([, passed]) => !passed)) process.exitCode = 1

/** Returns true if all tests have passed. */
function run(name) {
  const runtime = RUNTIMES[name]
  if (runtime === undefined)
    throw new Error(`Unknown runtime "${name}": expected ${Object.keys(RUNTIMES).join(', ')}`)
  const modules = join(install(name, [runtime.package]), 'node_modules')
  const program = runtime.programs.map((file) => join(modules, file)).find((file) => existsSync(file))
  if (program === undefined)
    throw new Error(`npm has not installed the program of ${runtime.package} in ${modules}`)
  const version = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0]
  console.log(`\n=== ${name}: ${version}`)
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'unit', '--project', 'quick']
  const tests = args.length > 0 ? args : TESTS
  const { status } = spawnSync(program, [...runtime.args, ...vitest, ...tests], { stdio: 'inherit' })
  return status === 0
}

/** Splits the arguments at `--`. */
function split(all) {
  const at = all.indexOf('--')
  return at === -1 ? [all, []] : [all.slice(0, at), all.slice(at + 1)]
}
