import type { Dirent } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { bytesToText } from '../../codec/bytes.ts'
import { SessionPgsqlError } from '../../errors.ts'
import { inBatches, type Source, type SourceSession } from './source.ts'

const PREFIX = 'sess_'

/**
 * Reads the folder of PHP's handler `files`, with the subfolders of `session.save_path = "N;/folder"`. A session
 * expires `lifetime` seconds after its file was written or touched, as PHP's garbage collection has it.
 *
 * @param lifetime session.gc_maxlifetime, in seconds
 * @throws SessionPgsqlError INVALID_OPTION if the folder cannot be read
 */
export async function phpFilesSource(folder: string, lifetime: number): Promise<Source> {
  const root = resolve(folder)
  await list(root)
  let deepest = 0

  const readSession = async (path: string, id: string): Promise<SourceSession | undefined> => {
    try {
      // The time first: a file that PHP writes in between is read with the earlier expiry, and renewed by the next run.
      const expires = await expiryOf(path)
      return { id, text: bytesToText(await readFile(path)), expires }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw unreadable(path, error)
    }
  }

  const expiryOf = async (path: string): Promise<number> => {
    const { mtimeMs } = await stat(path)
    return performance.now() + mtimeMs + lifetime * 1000 - Date.now()
  }

  async function* files(path: string, depth: number): AsyncGenerator<{ path: string; id: string }> {
    deepest = Math.max(deepest, depth)
    for (const entry of await list(path)) {
      const inner = join(path, entry.name)
      if (entry.isDirectory()) yield* files(inner, depth + 1)
      else if (entry.isFile() && entry.name.startsWith(PREFIX)) {
        yield { path: inner, id: entry.name.slice(PREFIX.length) }
      }
    }
  }

  async function* sessions(): AsyncGenerator<SourceSession> {
    for await (const { path, id } of files(root, 0)) {
      const session = await readSession(path, id)
      if (session !== undefined) yield session
    }
  }

  const isLive = async (id: string): Promise<boolean> => {
    for (let depth = 0; depth <= deepest; depth++) {
      const path = join(root, ...id.slice(0, depth), PREFIX + id)
      const expires = await expiryOf(path).catch(() => Number.NEGATIVE_INFINITY)
      if (expires > performance.now()) return true
    }
    return false
  }

  return {
    name: `php-files ${root}`,
    close: async () => {},
    count: async () => undefined,
    batches: () => inBatches(sessions()),
    async findLive(ids) {
      const live = new Set<string>()
      for (const id of ids) if (await isLive(id)) live.add(id)
      return live
    },
  }
}

async function list(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true })
  } catch (error) {
    throw unreadable(path, error)
  }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ENOENT'
}

/** @param path of a file, whose name contains a session id, or of a folder */
function unreadable(path: string, cause: unknown): SessionPgsqlError {
  const folder = path.replace(/\/sess_[^/]*$/, '')
  return new SessionPgsqlError(
    'INVALID_OPTION',
    `Cannot read the sessions in ${folder} (${(cause as { code?: string }).code}). Set PHP's session.save_path with --source, and run the import as root or as PHP's user.`,
    { cause },
  )
}
