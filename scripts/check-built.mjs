/**
 * Run by `npm pack` and `npm publish` in the folder of a package: fails unless the package has been built. Otherwise
 * npm would pack the folder without the built files, and report no error.
 *
 * usage: node check-built.mjs [FILE...]   built files that package.json does not name
 */
import { existsSync, readFileSync } from 'node:fs'

/** Returns the files that a part of package.json names. */
function filesIn(value) {
  if (typeof value === 'string') return value.startsWith('./') ? [value] : []
  return value === undefined ? [] : Object.values(value).flatMap(filesIn)
}

const { bin, exports, main, types, typesVersions } = JSON.parse(readFileSync('package.json', 'utf8'))
const missing = [...filesIn([bin, exports, main, types, typesVersions]), ...process.argv.slice(2)]
  .flatMap((file) => (/dist\/.*\.js$/.test(file) ? [file, file.replace(/js$/, 'd.ts')] : [file]))
  .filter((file) => !existsSync(file))

if (missing.length > 0) {
  console.error(`The package is not built: ${missing[0]} does not exist. Run "npm run build" first.`)
  process.exitCode = 1
}
