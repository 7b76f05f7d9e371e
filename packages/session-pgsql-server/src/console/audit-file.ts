import { appendFile, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditEntry } from './api.ts'
import { CHAIN_START, type ChainEnd, endAfter, lineAfter } from './audit-chain.ts'

/** Bytes after which the file is renamed to `FILE.1`, which replaces the previous `FILE.1`. */
const MAX_FILE_SIZE = 4 * 1024 * 1024

/** Bytes at the end of a file that hold its last lines: many times the longest line. */
const TAIL = 64 * 1024

/** More than the last lines that crashes may have cut off one after the other. */
const CUT_LINES = 20

/** Milliseconds after which a lock was left by a process that ended. */
const STALE = 5000

/** An audit file, as a chain of lines. Several processes may append to it. */
export class AuditFile {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Creates the file if it does not exist. @returns its lines and those of `FILE.1`, the oldest first */
  async open(): Promise<string[]> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 })
    await appendFile(this.path, '', { mode: 0o600 })
    return readAuditLines(this.path)
  }

  /** Appends an entry. @returns its line, without the end of line */
  async append(entry: AuditEntry): Promise<string> {
    const unlock = await lock(`${this.path}.lock`)
    try {
      // Read from the file each time, because another process may have appended.
      const tail = await tailOf(this.path)
      const end = tail.end ?? (await tailOf(`${this.path}.1`)).end ?? CHAIN_START
      const line = lineAfter(end, entry)
      if (tail.size + line.length > MAX_FILE_SIZE) await rename(this.path, `${this.path}.1`)
      await appendFile(this.path, `${tail.isCut ? '\n' : ''}${line}\n`, { mode: 0o600 })
      return line
    } finally {
      await unlock()
    }
  }
}

/** Returns the lines of an audit file and of its predecessor `FILE.1`, the oldest first. @throws if FILE cannot be read */
export async function readAuditLines(path: string): Promise<string[]> {
  const previous = await readFile(`${path}.1`, 'utf8').catch((error) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return ''
    throw error
  })
  return `${previous}${await readFile(path, 'utf8')}`.split('\n').filter((line) => line !== '')
}

interface Tail {
  readonly size: number
  /** Undefined if there is no line. */
  readonly end: ChainEnd | undefined
  /** True if a crash has cut off the last line. */
  readonly isCut: boolean
}

async function tailOf(path: string): Promise<Tail> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return { size: 0, end: undefined, isCut: false }
  }
  try {
    const { size } = await file.stat()
    const buffer = Buffer.alloc(Math.min(size, TAIL))
    await file.read(buffer, 0, buffer.length, size - buffer.length)
    const text = buffer.toString('utf8')
    const lines = text.split('\n').filter((line) => line !== '')
    const last = lines.at(-1)
    const end = last === undefined ? undefined : lines.slice(-CUT_LINES).reduce(endAfter, CHAIN_START)
    return { size, end, isCut: text !== '' && !text.endsWith('\n') }
  } finally {
    await file.close()
  }
}

/** Takes a lock file. @returns a function that removes it. @throws if the file cannot be created */
async function lock(path: string): Promise<() => Promise<void>> {
  const begun = performance.now()
  for (;;) {
    try {
      await (await open(path, 'wx', 0o600)).close()
      return () => unlink(path).catch(() => {})
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const { mtimeMs = Date.now() } = await stat(path).catch(() => ({}) as { mtimeMs?: number })
      // The second condition holds if a clock was set back.
      const isStale = Date.now() - mtimeMs > STALE || performance.now() - begun > 2 * STALE
      if (isStale) await unlink(path).catch(() => {})
      else await sleep(5)
    }
  }
}
