/**
 * Builds the site of the documentation in website/dist: the pages of docs/, and a page for each public name, written by
 * TypeDoc from its docstring. VitePress fails on a dead link.
 *
 * VitePress reads the folder `pages`, which this script writes again at each run: docs/ stays readable on GitHub as it is.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const website = dirname(fileURLToPath(import.meta.url))
const root = dirname(website)
const pages = join(website, 'pages')
const run = (program, ...args) =>
  execFileSync(process.execPath, [join(website, 'node_modules', program), ...args], {
    cwd: website,
    stdio: 'inherit',
  })

rmSync(pages, { recursive: true, force: true })
cpSync(join(root, 'docs'), join(pages, 'docs'), { recursive: true })
for (const page of ['README', 'CHANGELOG', 'CONTRIBUTING', 'SECURITY', 'ARCHITECTURE']) {
  const name = page === 'README' ? 'index' : page
  cpSync(join(root, `${page}.md`), join(pages, `${name}.md`))
}
run('typedoc/bin/typedoc', '--options', 'typedoc.json')

// Links to files of the repository that are no page lead to the repository.
const { repository } = JSON.parse(readFileSync(join(root, 'packages/session-pgsql/package.json'), 'utf8'))
const home = repository.url.replace(/^git\+/, '').replace(/\.git$/, '')
for (const folder of [pages, join(pages, 'docs')]) {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.md'))) {
    const path = join(folder, file)
    const text = readFileSync(path, 'utf8')
      .replace(/\]\((?:\.\.\/)?(examples|packages|LICENSE|bench|test)([^)]*)\)/g, `](${home}/tree/main/$1$2)`)
      .replace(/\]\((alerts\.yml|grafana-dashboard\.json)\)/g, `](${home}/blob/main/docs/$1)`)
      .replace(/\]\((\.\.\/)?README\.md/g, ']($1index.md')
    writeFileSync(path, text)
  }
}
run('vitepress/bin/vitepress.js', 'build')
