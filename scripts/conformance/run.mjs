/**
 * What the scripts of this folder share: each runs a host's own suite, in a checkout of the host, on a
 * PostgreSQL server that is brought by npm, or on PGlite.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'

/**
 * The folder that the command line names, and the server: `node script.mjs <folder> [18 | 15 | pglite]`.
 *
 * @param {string} sign a file that is there in the right folder
 * @param {string} hint what the folder should be
 */
export function checkout(sign, hint) {
  const [folder, version = '18'] = process.argv.slice(2)
  const found = resolve(folder ?? '')
  if (folder !== undefined && existsSync(join(found, sign))) return { folder: found, version }
  console.error(`Expected the folder of ${hint}.`)
  process.exit(2)
}

/** Runs a suite with SESSION_PGSQL_CONFORMANCE_DB: a URL, or `pglite`. Its exit code becomes that of this process. */
export async function onServer(version, suite) {
  const server =
    version === 'pglite' ? undefined : await startPostgres({ version, settings: { fsync: 'off' } })
  try {
    process.exitCode = await suite({ SESSION_PGSQL_CONFORMANCE_DB: server?.url() ?? 'pglite' })
  } finally {
    await server?.remove()
  }
}

/** The exit code of a program that talks to the terminal. */
export function run(command, parameters, cwd, environment = {}) {
  const env = { ...process.env, ...environment }
  const child = spawn(command, parameters, { cwd, env, stdio: 'inherit' })
  return new Promise((done, failed) => child.on('error', failed).on('close', (code) => done(code ?? 1)))
}

/** Runs a host's tests under vitest, with the configuration in `<host>.vitest.mjs`. */
export async function vitestOn(host, sign, hint) {
  const { folder, version } = checkout(sign, hint)
  const repository = fileURLToPath(new URL('../..', import.meta.url))
  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const config = join(repository, 'scripts/conformance', `${host}.vitest.mjs`)
  await onServer(version, (environment) =>
    run(process.execPath, [vitest, 'run', '--config', config], repository, {
      ...environment,
      SESSION_PGSQL_CONFORMANCE_FOLDER: folder,
    }),
  )
}
