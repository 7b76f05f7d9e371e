/**
 * Run by `npm pack` and `npm publish` in the folder of a package: copies a page of the repository as the package's README,
 * and the license. npm's page shows the README without the repository, so links to its files become URLs, at the tag of this
 * version.
 *
 * usage: node copy-readme.mjs PAGE   its path in the repository
 */
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const page = join(root, process.argv[2])
const { repository, version } = JSON.parse(readFileSync('package.json', 'utf8'))
const home = repository.url.replace(/^git\+/, '').replace(/\.git$/, '')

const readme = readFileSync(page, 'utf8').replace(
  /\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)/g,
  (_, link, anchor = '') => {
    const target = join(dirname(page), link)
    const kind = statSync(target).isDirectory() ? 'tree' : 'blob'
    const path = relative(root, target).replaceAll('\\', '/')
    return `](${home}/${kind}/v${version}/${path}${anchor})`
  },
)
writeFileSync('README.md', readme)
copyFileSync(join(root, 'LICENSE'), 'LICENSE')
