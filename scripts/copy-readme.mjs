/**
 * Run by `npm pack` and `npm publish` in the folder of the library: copies the README and the license of the repository.
 * npm's page shows the README without the repository, so links to its files become URLs, at the tag of this version.
 */
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { repository, version } = JSON.parse(readFileSync('package.json', 'utf8'))
const home = repository.url.replace(/^git\+/, '').replace(/\.git$/, '')

const readme = readFileSync(join(root, 'README.md'), 'utf8').replace(
  /\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)/g,
  (_, path, anchor = '') => {
    const kind = statSync(join(root, path)).isDirectory() ? 'tree' : 'blob'
    return `](${home}/${kind}/v${version}/${path}${anchor})`
  },
)
writeFileSync('README.md', readme)
copyFileSync(join(root, 'LICENSE'), 'LICENSE')
