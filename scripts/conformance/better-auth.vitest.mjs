import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hostConfig } from './vitest.mjs'

const storage = fileURLToPath(new URL('better-auth-storage.mjs', import.meta.url))

/** Their storages are made in the test itself, each over a Map that the test looks into. */
const config = hostConfig({
  include: ['packages/better-auth/src/db/secondary-storage.test.ts'],
  replace: {},
  edit: (code) =>
    `import { overMap } from ${JSON.stringify(storage)}
const createStringSecondaryStorage = (map: any) => overMap(map, (text: string) => text)
const createParsedSecondaryStorage = (map: any) => overMap(map, (text: string) => JSON.parse(text))
${code
  .replace('function createStringSecondaryStorage', 'function theirStringStorage')
  .replace('function createParsedSecondaryStorage', 'function theirParsedStorage')}`,
})

/** The packages of the checkout, from their sources: they are not built. */
const sources = {
  name: 'sources of the checkout',
  enforce: 'pre',
  resolveId(name) {
    const [, path, beyond = ''] = /^@better-auth\/([\w-]+)(\/.+)?$/.exec(name) ?? []
    const folder = join(config.root, 'packages', path ?? '')
    if (path === undefined || !existsSync(folder)) return undefined
    const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    for (const [pattern, { 'dev-source': source }] of Object.entries(exports)) {
      const [before, after] = `.${beyond}`.split(pattern.replace(/\*$/, ''))
      const isIt = pattern.endsWith('*') ? before === '' && after !== undefined : pattern === `.${beyond}`
      if (isIt && source !== undefined) return join(folder, source.replace('*', after ?? ''))
    }
    return undefined
  },
}
export default { ...config, plugins: [sources, ...config.plugins] }
