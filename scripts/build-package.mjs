/**
 * Builds the package in the current folder: one pass of the compiler for ES modules, one for CommonJS.
 * Each pass has types of its own; the package.json inside dist/cjs is what makes Node and TypeScript
 * take those files as CommonJS.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')

rmSync('dist', { recursive: true, force: true })
for (const project of ['tsconfig.esm.json', 'tsconfig.cjs.json']) {
  if (existsSync(project)) {
    execFileSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' })
  }
}
if (existsSync('dist/cjs')) {
  writeFileSync('dist/cjs/package.json', '{ "type": "commonjs" }\n')
}
