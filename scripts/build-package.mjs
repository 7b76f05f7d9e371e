/**
 * Builds the package in the current folder: compiles it once to ES modules and once to CommonJS, each with its own
 * types. The package.json in dist/cjs makes Node and TypeScript treat the files there as CommonJS.
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
