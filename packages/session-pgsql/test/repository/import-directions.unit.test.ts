import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

/**
 * Tests the import directions of biome.json: lints files with forbidden and allowed imports in a temporary directory
 * with the same configuration.
 */

const FORBIDDEN: Record<string, string[]> = {
  'errors.ts': ['./settings/settings.ts', './table/table.ts', './index.ts'],
  'diagnostics.ts': ['./save-handler.ts', './table/batcher.ts', '@opentelemetry/api'],
  'nearest.ts': ['./settings/settings.ts'],
  'codec/json.ts': ['../database/database.ts', '../session/record.ts', '../index.ts', '../php-ini.ts'],
  'codec/merge.ts': ['../table/table.ts', '../settings/settings.ts', '../save-handler.ts', 'pg'],
  'conninfo/conninfo.ts': [
    '../settings/settings.ts',
    '../servers/server.ts',
    '../database/database.ts',
    'pg',
  ],
  'session/record.ts': ['../table/table.ts', '../settings/settings.ts', '../operations.ts'],
  'database/pglite.ts': [
    '../table/table.ts',
    '../servers/server.ts',
    '../settings/settings.ts',
    '../session/record.ts',
  ],
  'table/table.ts': [
    '../servers/server.ts',
    '../settings/settings.ts',
    '../save-handler.ts',
    '../handler/write.ts',
  ],
  'settings/settings.ts': [
    '../save-handler.ts',
    '../servers/server.ts',
    '../table/table.ts',
    '../adapters/express.ts',
  ],
  'settings/rules.ts': ['../save-handler.ts', '../index.ts'],
  'servers/server.ts': [
    '../save-handler.ts',
    '../index.ts',
    '../operations.ts',
    '../handler/gc.ts',
    '../cli/main.ts',
  ],
  'handler/write.ts': [
    '../database/pglite.ts',
    '../adapters/express.ts',
    '../save-handler.ts',
    '../index.ts',
  ],
  'save-handler.ts': ['./adapters/express.ts', './index.ts', './cli/main.ts', './database/database.ts'],
  'index.ts': ['./adapters/express.ts', './cli/main.ts', './table/table.ts'],
  'adapters/express.ts': [
    '../table/table.ts',
    '../servers/server.ts',
    '../database/database.ts',
    '../handler/id-queue.ts',
  ],
  'adapters/express/store.ts': ['../../table/table.ts', '../../codec/merge.ts', '../../handler/write.ts'],
  'testing.ts': ['./index.ts', './save-handler.ts', 'express-session'],
  'testing/lifecycle.ts': ['../index.ts', '../session/record.ts', 'vitest'],
  'cli/commands/gc.ts': ['../../adapters/express.ts'],
  'cli/import/express-session.ts': ['../../adapters/express.ts', '../../adapters/shared/working-copy.ts'],
  '../../session-pgsql-server/src/console/page.ts': ['../../../session-pgsql/src/index.ts'],
  '../../session-pgsql-server/page/src/client.ts': ['../../src/run.ts', 'session-pgsql', 'node:crypto'],
}

const ALLOWED: Record<string, string[]> = {
  'session/record.ts': ['../codec/codec.ts', './stored.ts', 'node:crypto', '../errors.ts'],
  'codec/php.ts': ['../errors.ts', './php/reader.ts'],
  'database/node-postgres.ts': ['../errors.ts', './array.ts', 'pg'],
  'table/batcher.ts': ['../diagnostics.ts', '../errors.ts'],
  'table/listing.ts': ['../session/filter.ts', '../database/database.ts', '../codec/codec.ts'],
  'servers/connect.ts': [
    '../settings/settings.ts',
    '../conninfo/conninfo.ts',
    '../table/table.ts',
    '../database/pglite.ts',
  ],
  'settings/database-entries.ts': ['../conninfo/conninfo.ts', '../database/drivers.ts', './checks.ts'],
  'handler/gc.ts': [
    '../servers/servers.ts',
    '../table/sweep.ts',
    '../operations.ts',
    '../settings/settings.ts',
  ],
  'adapters/fastify.ts': ['../save-handler.ts', '../index.ts', './express/store.ts', 'fastify-plugin'],
  'adapters/express/registry.ts': ['../../errors.ts', '../../operations.ts', '../../save-handler.ts'],
  'testing/lifecycle.ts': ['node:assert/strict', './case-run.ts'],
  'cli/import/express-session.ts': ['../../adapters/shared/stored-cookie.ts'],
  'cli/commands/doctor.ts': ['../../table/table.ts', '../../save-handler.ts'],
  '../../session-pgsql-server/src/gateway/server.ts': ['session-pgsql', './protocol.ts'],
  '../../session-pgsql-server/page/src/client.ts': ['../../src/console/api.ts', './state.ts', 'preact/hooks'],
}

interface Finding {
  rule: string
  file: string
  line: number
}

/** Returns the linter's findings in these files, which have the directories of the repository. */
function lint(files: Record<string, string>): Finding[] {
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-lint-'))
  try {
    const config = JSON.parse(readFileSync(new URL('../../../../biome.json', import.meta.url), 'utf8'))
    delete config.vcs
    writeFileSync(join(folder, 'biome.json'), JSON.stringify(config))
    for (const [path, text] of Object.entries(files)) {
      const file = join(folder, 'packages/session-pgsql/src', path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
    }
    const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
    const args = [biome, 'lint', '--reporter=github', '--max-diagnostics=none', '.']
    const report = runFailing(args, folder)
    return [...report.matchAll(/^::\w+ title=([\w/]+),file=([^,]+),line=(\d+)/gm)].map((match) => ({
      rule: match[1]?.split('/').at(-1) ?? '',
      file: match[2] ?? '',
      line: Number(match[3]),
    }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Returns the output of a linter that exits with an error because it has findings. */
function runFailing(args: string[], cwd: string): string {
  try {
    return execFileSync(process.execPath, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

/** Imports each target statically and dynamically. */
function importing(targets: string[]): string {
  return targets
    .map(
      (target, i) => `export * as n${i} from '${target}'\nexport const l${i} = () => import('${target}')\n`,
    )
    .join('')
}

function filesImporting(table: Record<string, string[]>): Record<string, string> {
  return Object.fromEntries(Object.entries(table).map(([file, targets]) => [file, importing(targets)]))
}

test('rejects forbidden imports, static and dynamic', () => {
  const found = lint(filesImporting(FORBIDDEN)).filter(({ rule }) => rule === 'noRestrictedImports')
  for (const [file, targets] of Object.entries(FORBIDDEN)) {
    const path = join('packages/session-pgsql/src', file)
    const lines = found.filter((finding) => finding.file.endsWith(`/${path}`)).map(({ line }) => line)
    const missed = targets.filter((_, i) => !lines.includes(2 * i + 1) || !lines.includes(2 * i + 2))
    expect([file, missed]).toEqual([file, []])
  }
})

test('accepts allowed imports', () => {
  expect(lint(filesImporting(ALLOWED))).toEqual([])
})

test('rejects import cycles, also of types only, and floating promises', () => {
  const found = lint({
    'table/a.ts': "import { b } from './b.ts'\nexport const a = () => b\n",
    'table/b.ts': "import { a } from './a.ts'\nexport const b = () => a\n",
    'table/d.ts': "import type { E } from './e.ts'\nexport interface D { e: E }\n",
    'table/e.ts': "import type { D } from './d.ts'\nexport interface E { d: D }\n",
    'table/c.ts': 'async function work(): Promise<void> {}\nwork()\n',
  })
  const rules = found.map(({ rule, file }) => `${file.at(-4)} ${rule}`).sort()
  expect(rules).toEqual([
    'a noImportCycles',
    'b noImportCycles',
    'c noFloatingPromises',
    'd noImportCycles',
    'e noImportCycles',
  ])
})
