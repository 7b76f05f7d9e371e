/**
 * For hosts whose tests vitest can run, be they written for vitest, jest or mocha: a configuration that puts
 * modules of ours in the place of theirs. What a checkout does not have installed comes from this repository.
 */
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const repository = resolve(here, '../..')

/**
 * @param {object} host
 * @param {string[]} host.include the tests, from the checkout's folder
 * @param {Record<string, string>} host.replace their modules, as paths without ending from the checkout's folder; ours,
 *   from this folder
 * @param {(code: string, file: string) => string} [host.edit] changes a test before it runs
 */
export function hostConfig({ include, replace, edit = (code) => code }) {
  const folder = resolve(process.env.SESSION_PGSQL_CONFORMANCE_FOLDER)
  const places = new Map(
    Object.entries(replace).map(([theirs, ours]) => [join(folder, theirs), join(here, ours)]),
  )
  return {
    root: folder,
    plugins: [
      {
        name: 'ours in the place of theirs',
        enforce: 'pre',
        async resolveId(name, importer) {
          if (importer === undefined || name.startsWith('node:')) return undefined
          if (name.startsWith('.'))
            return places.get(resolve(dirname(importer), name).replace(/\.[jt]sx?$/, ''))
          const options = { skipSelf: true }
          return (
            places.get(join(folder, name)) ??
            (await this.resolve(name, importer, options)) ??
            this.resolve(name, join(repository, 'package.json'), options)
          )
        },
        transform(code, file) {
          return include.some((test) => file === join(folder, test)) ? edit(code, file) : undefined
        },
      },
    ],
    test: {
      include,
      globals: true,
      setupFiles: [join(here, 'vitest-setup.mjs')],
      // What is ours and imports what is theirs goes through the plugin, too.
      server: { deps: { inline: [/session-pgsql\/dist/, /scripts\/conformance/] } },
      testTimeout: 30_000,
      fileParallelism: false,
    },
    server: { fs: { strict: false } },
    cacheDir: join(repository, 'node_modules/.vite/conformance'),
  }
}

/** What a store of ours is given as `db`. */
export async function database() {
  const url = process.env.SESSION_PGSQL_CONFORMANCE_DB
  if (url !== 'pglite') return { connectionString: url }
  const { PGlite } = await import(
    createRequire(join(repository, 'packages/session-pgsql/package.json')).resolve('@electric-sql/pglite')
  )
  // It starts in seconds, and the first test should not pay for it.
  return PGlite.create()
}
