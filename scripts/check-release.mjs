/**
 * Fails unless a tag can be published: both packages have its version, and CHANGELOG.md has its date.
 *
 * usage: node check-release.mjs v1.2.3
 */
import { readFileSync } from 'node:fs'

const [tag = ''] = process.argv.slice(2)
const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const problems = ['session-pgsql', 'session-pgsql-server'].flatMap((name) => {
  const { version } = JSON.parse(read(`packages/${name}/package.json`))
  return `v${version}` === tag ? [] : [`${name} has the version ${version}, not that of the tag "${tag}".`]
})
const [, version, date] = /^## (\S+) \((.*)\)$/m.exec(read('CHANGELOG.md')) ?? []
if (`v${version}` !== tag || !/^\d{4}-\d\d-\d\d$/.test(date)) {
  problems.push(`CHANGELOG.md begins with "${version} (${date})": expected "${tag.slice(1)} (YYYY-MM-DD)".`)
}
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
