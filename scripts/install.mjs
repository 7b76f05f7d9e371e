import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

/**
 * Installs packages from npm into a folder of their own outside of the repository, unless an earlier call did. The
 * folders are kept in the temporary directory, or where SESSION_PGSQL_CACHE says.
 *
 * @param {string} name of the folder
 * @param {string[]} packages as `npm install` takes them
 * @returns {string} the folder
 */
export function install(name, packages) {
  const cache =
    process.env.SESSION_PGSQL_CACHE ?? join(tmpdir(), `session-pgsql-installed-${userInfo().username}`)
  const folder = join(cache, name)
  if (existsSync(folder)) return folder

  // Complete, or not there: an interrupted installation is no installation.
  const unfinished = `${folder}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  writeFileSync(join(unfinished, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }))
  try {
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    const args = ['install', '--no-audit', '--no-fund', '--loglevel=error', ...packages]
    execFileSync(npm, args, { cwd: unfinished, stdio: ['ignore', 'ignore', 'inherit'] })
    renameSync(unfinished, folder)
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
  }
  return folder
}
