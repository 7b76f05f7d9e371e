import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { frameworkConfig } from './vitest.mjs'

const storage = fileURLToPath(new URL('better-auth-storage.mjs', import.meta.url))

/** The test file creates its storages itself, each over a Map that it inspects: their functions are replaced. */
const config = frameworkConfig({
  include: ['packages/better-auth/src/db/secondary-storage.test.ts'],
  replace: {},
  edit: (code) =>
    `import { mirroredStorage } from ${JSON.stringify(storage)}
const createStringSecondaryStorage = (map: any) => mirroredStorage(map, (text: string) => text)
const createParsedSecondaryStorage = (map: any) => mirroredStorage(map, (text: string) => JSON.parse(text))
${code
  .replace('function createStringSecondaryStorage', 'function originalStringStorage')
  .replace('function createParsedSecondaryStorage', 'function originalParsedStorage')}`,
})

/** Resolves the checkout's packages to their sources, because they are not built. */
const sources = {
  name: 'sources of the checkout',
  enforce: 'pre',
  resolveId(name) {
    const [, path, subpath = ''] = /^@better-auth\/([\w-]+)(\/.+)?$/.exec(name) ?? []
    const folder = join(config.root, 'packages', path ?? '')
    if (path === undefined || !existsSync(folder)) return undefined
    const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    for (const [pattern, { 'dev-source': source }] of Object.entries(exports)) {
      const [before, after] = `.${subpath}`.split(pattern.replace(/\*$/, ''))
      const isMatch = pattern.endsWith('*') ? before === '' && after !== undefined : pattern === `.${subpath}`
      if (isMatch && source !== undefined) return join(folder, source.replace('*', after ?? ''))
    }
    return undefined
  },
}
export default { ...config, plugins: [sources, ...config.plugins] }
