import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const source = (path: string, name = 'session-pgsql') =>
  fileURLToPath(new URL(`packages/${name}/src/${path}`, import.meta.url))

export default defineConfig({
  // The examples are tested on the sources, not on what was built last.
  resolve: {
    alias: [
      { find: /^session-pgsql$/, replacement: source('index.ts') },
      {
        find: /^session-pgsql-server\/(console|gateway)$/,
        replacement: source('$1/start.ts', 'session-pgsql-server'),
      },
      { find: /^session-pgsql\/testing$/, replacement: source('testing.ts') },
      { find: /^session-pgsql\/([a-z-]+)$/, replacement: source('adapters/$1.ts') },
    ],
  },
  test: {
    include: ['packages/*/test/**/*.test.ts'],
    globalSetup: ['packages/session-pgsql/test/support/global-setup.ts'],
    // Real processes: tests look at unhandled rejections, signals and memory, and PGlite wants an isolate of its own.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 20_000,
  },
})
