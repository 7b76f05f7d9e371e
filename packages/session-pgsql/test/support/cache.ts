import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { freemem, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/**
 * A cache in the temporary directory for what is slow to make and always the same, shared by all test processes
 * of a user and kept between runs.
 */

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

/** Bytes that must be free in memory before a server's files are put there. */
const ENOUGH_MEMORY = 4 * 1024 ** 3

/**
 * A folder in memory for the files of servers that need no disk; undefined without enough memory, or if TMPDIR names
 * another folder. Measured: ext4 takes a fifth of the tests' processor time to create and remove databases.
 */
export function memoryDirectory(): string | undefined {
  const folder = '/dev/shm'
  if (process.env.TMPDIR || !existsSync(folder) || freemem() < ENOUGH_MEMORY) return undefined
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize < ENOUGH_MEMORY ? undefined : folder
}

function openToAll(folder: string): boolean {
  if ((statSync(folder).mode & 0o001) === 0) return false
  const parent = dirname(folder)
  return parent === folder || openToAll(parent)
}

/**
 * The folder `name` of the cache, built if it is not there. Safe among processes: each builds under a name of
 * its own, the first rename wins. A folder that has lost files (systems that tidy /tmp) is built anew.
 */
export async function cached(name: string, build: (target: string) => Promise<void>): Promise<string> {
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
