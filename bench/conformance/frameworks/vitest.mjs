/**
 * For frameworks whose tests vitest can run, whether written for vitest, jest or mocha: a configuration that rereplacements
 * modules of the framework with modules of this folder. Packages that the checkout has not installed are taken from
 * this repository.
 */
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const repository = resolve(here, '../../..')

/**
 * @param {object} framework
 * @param {string[]} framework.include the test files, relative to the checkout
 * @param {Record<string, string>} framework.replace by module of the framework (its path relative to the checkout,
 *   without extension): the file of this folder that rereplacements it
 * @param {(code: string, file: string) => string} [framework.edit] changes a test file before it runs
 */
export function frameworkConfig({ include, replace, edit = (code) => code }) {
  const folder = resolve(process.env.SESSION_PGSQL_CONFORMANCE_FOLDER)
  const replacements = new Map(
    Object.entries(replace).map(([module, file]) => [join(folder, module), join(here, file)]),
  )
  return {
    root: folder,
    plugins: [
      {
        name: 'replaced modules',
        enforce: 'pre',
        async resolveId(name, importer) {
          if (importer === undefined || name.startsWith('node:')) return undefined
          if (name.startsWith('.'))
            return replacements.get(resolve(dirname(importer), name).replace(/\.[jt]sx?$/, ''))
          const options = { skipSelf: true }
          return (
            replacements.get(join(folder, name)) ??
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
      // The adapters and the files of this folder import the framework: they must go through the plugin, too.
      server: { deps: { inline: [/session-pgsql\/dist/, /bench\/conformance/] } },
      testTimeout: 30_000,
      fileParallelism: false,
    },
    server: { fs: { strict: false } },
    cacheDir: join(repository, 'node_modules/.vite/conformance'),
  }
}

/** Returns the option `db` of the store under test. */
export async function database() {
  const url = process.env.SESSION_PGSQL_CONFORMANCE_DB
  if (url !== 'pglite') return { connectionString: url }
  const { PGlite } = await import(
    createRequire(join(repository, 'packages/session-pgsql/package.json')).resolve('@electric-sql/pglite')
  )
  // PGlite takes seconds to start: start it before the first test, whose time is limited.
  return PGlite.create()
}
