/**
 * Checks the published packages: publint compares each package.json with the files that npm packs, and attw resolves
 * each entry point with TypeScript in every resolution mode.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)
const attw = join(dirname(require.resolve('@arethetypeswrong/cli/package.json')), 'dist/index.js')

for (const name of readdirSync(join(root, 'packages'))) {
  const folder = join(root, 'packages', name)
  const description = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  if (description.private) continue

  const { messages } = await publint({ pkgDir: folder, strict: true, pack: 'npm' })
  for (const message of messages) console.error(`${name}: ${formatMessage(message, description)}`)
  if (messages.length > 0) process.exitCode = 1
  console.log(`${name}: publint found ${messages.length || 'no'} problems`)

  if (description.exports === undefined) continue
  // A package with ES modules only is not checked for CommonJS.
  const profile = JSON.stringify(description.exports).includes('"require"') ? 'strict' : 'esm-only'
  try {
    execFileSync(process.execPath, [attw, '--pack', folder, '--no-emoji', '--profile', profile], {
      stdio: 'inherit',
    })
  } catch {
    process.exitCode = 1
  }
}
