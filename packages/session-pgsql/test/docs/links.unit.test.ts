import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../../../..')
const markdownIn = (folder: string): string[] =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, folder, name))
const pages = ['.', 'docs'].flatMap(markdownIn)

/** The text without code, in which brackets are not links. */
const proseOf = (page: string): string =>
  readFileSync(page, 'utf8')
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ' '))

/** The anchors of a page's headings, as GitHub forms them. */
function anchorsOf(page: string): Set<string> {
  const headings = [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

test.each(pages.map((page) => [relative(root, page), page] as const))(
  'every link of %s leads somewhere',
  (_, page) => {
    const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
    const broken = links.filter((link) => {
      if (/^(https?|mailto):/.test(link)) return false
      const [path, anchor] = link.split('#') as [string, string?]
      const target = path === '' ? page : join(dirname(page), path)
      return !existsSync(target) || (anchor !== undefined && !anchorsOf(target).has(anchor))
    })
    expect(broken).toEqual([])
  },
)

test('every page of docs/ is in the sidebar of the site', () => {
  const sidebar = readFileSync(join(root, 'website/.vitepress/config.mjs'), 'utf8')
  const missing = markdownIn('docs').filter((page) => !sidebar.includes(`'${basename(page, '.md')}')`))
  expect(missing).toEqual([])
})
