/**
 * The common part of the scripts in this folder. Each runs a framework's own test suite on an adapter, in a checkout
 * of the framework, on PGlite or a PostgreSQL server that npm installs.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../../../packages/session-pgsql/test/support/postgres.ts'

/**
 * Returns the folder and the server of the command line: `npx tsx <script> <folder> [18 | 15 | pglite]`. Ends the
 * process if the folder is not the right one.
 *
 * @param {string} sign a file that the right folder has
 * @param {string} hint what the folder should be
 */
export function checkout(sign, hint) {
  const [folder, version = '18'] = process.argv.slice(2)
  const found = resolve(folder ?? '')
  if (folder !== undefined && existsSync(join(found, sign))) return { folder: found, version }
  console.error(`Expected the folder of ${hint}; received ${folder ?? 'none'}.`)
  process.exit(2)
}

/**
 * Runs a suite with the database in SESSION_PGSQL_CONFORMANCE_DB: a URL, or `pglite`. This process ends with the exit
 * code of the suite.
 */
export async function onServer(version, suite) {
  const server =
    version === 'pglite' ? undefined : await startPostgres({ version, settings: { fsync: 'off' } })
  try {
    process.exitCode = await suite({ SESSION_PGSQL_CONFORMANCE_DB: server?.url() ?? 'pglite' })
  } finally {
    await server?.remove()
  }
}

/** Runs a program in this terminal and returns its exit code. */
export function run(command, parameters, cwd, environment = {}) {
  const env = { ...process.env, ...environment }
  const child = spawn(command, parameters, { cwd, env, stdio: 'inherit' })
  return new Promise((done, failed) => child.on('error', failed).on('close', (code) => done(code ?? 1)))
}

/** Runs a framework's tests with vitest, with the configuration in `<framework>.vitest.mjs`. */
export async function runVitest(framework, sign, hint) {
  const { folder, version } = checkout(sign, hint)
  const repository = fileURLToPath(new URL('../../..', import.meta.url))
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const config = fileURLToPath(new URL(`${framework}.vitest.mjs`, import.meta.url))
  await onServer(version, (environment) =>
    run(process.execPath, [vitest, 'run', '--config', config], repository, {
      ...environment,
      SESSION_PGSQL_CONFORMANCE_FOLDER: folder,
    }),
  )
}
