import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vite'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'

const source = (path: string, name = 'session-pgsql') =>
  fileURLToPath(new URL(`packages/${name}/src/${path}`, import.meta.url))

const support = 'packages/session-pgsql/test/support'

/**
 * With SESSION_PGSQL_TEST_PEERS, the name of a folder with a package.json: its dependencies replace those of the same
 * names, so that the tests run with other versions of the frameworks (scripts/test-peers.mjs).
 */
function otherPeers(folder: string): Plugin {
  const description = join(folder, 'package.json')
  const names = Object.keys(JSON.parse(readFileSync(description, 'utf8')).dependencies)
  return {
    name: 'other-peers',
    enforce: 'pre',
    async resolveId(source, importer) {
      const isOther = names.some((name) => source === name || source.startsWith(`${name}/`))
      if (!isOther || importer?.startsWith(folder)) return null
      return this.resolve(source, description, { skipSelf: true })
    },
  }
}

const { SESSION_PGSQL_TEST_PEERS: peers } = process.env

/** One of the three kinds of test file; docs/testing.md says what belongs where. */
function project(
  name: string,
  include: string,
  options: TestProjectInlineConfiguration['test'] = {},
): TestProjectInlineConfiguration {
  return {
    ...(peers && { plugins: [otherPeers(peers)] }),
    // The examples are tested on the sources, not on what was built last.
    resolve: {
      alias: [
        { find: /^session-pgsql$/, replacement: source('index.ts') },
        {
          find: /^session-pgsql-server\/(console|gateway)$/,
          replacement: source('$1/start.ts', 'session-pgsql-server'),
        },
        { find: /^session-pgsql\/testing$/, replacement: source('testing.ts') },
        { find: /^session-pgsql\/([a-z\d-]+)$/, replacement: source('adapters/$1.ts') },
      ],
    },
    test: {
      name,
      include: [`packages/*/test/**/${include}`],
      // Real processes: tests look at unhandled rejections, signals and memory, and PGlite wants an isolate of its own.
      pool: 'forks',
      testTimeout: 120_000,
      // A failure shows more of its values than the default of 40 characters.
      chaiConfig: { truncateThreshold: 1000 },
      ...options,
      hookTimeout: 180_000,
      // Only there, where a failure that comes and goes would stop a release; vitest reports each repetition.
      retry: process.env.CI ? 1 : 0,
    },
  }
}

export default defineConfig({
  test: {
    globalSetup: [`${support}/global-setup.ts`],
    // One more than cores, because tests wait for servers; at most 6, because the shared servers have 300 connections.
    maxWorkers: Math.min(6, availableParallelism() + 1),
    teardownTimeout: 20_000,
    reporters: ['default', `./${support}/closing-line.ts`],
    projects: [
      project('unit', '*.unit.test.ts', { provide: { sharedServersPort: undefined } }),
      project('quick', '*.test.ts', { exclude: ['**/*.unit.test.ts', '**/*.full.test.ts'] }),
      project('full', '*.full.test.ts'),
    ],
    coverage: { include: ['packages/*/src/**'] },
  },
})
