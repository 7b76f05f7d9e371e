import { appendFile, mkdir, readFile, rename, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { AuditEntry } from './api.ts'
import { HttpError } from './responses.ts'

/** The number of entries in memory, and the maximum that the page can request. */
const MAX_ENTRIES = 1000

/** Bytes after which the file is renamed to `FILE.1`, which replaces the previous `FILE.1`. */
const MAX_FILE_SIZE = 4 * 1024 * 1024

/** The maximum number of characters of an id that the audit log and readers see. */
export const VISIBLE_ID_LENGTH = 8

/**
 * Records who did what: one line of JSON per action, appended to a file, at most two files of 4 MB. The log holds no
 * session data, and only the beginning of session ids.
 */
export class AuditLog {
  readonly #file: string | undefined
  readonly #log: (message: string) => void
  #entries: AuditEntry[] = []
  #size = 0
  #tail: Promise<unknown>

  /**
   * @param file undefined: the log is in memory only
   * @param log receives a message if the file cannot be written
   */
  constructor(file: string | undefined, log: (message: string) => void) {
    this.#file = file
    this.#log = log
    this.#tail = file === undefined ? Promise.resolve() : this.#load(file)
  }

  /** @throws 500 if the file cannot be written; the caller must then not perform the action */
  async add(entry: Omit<AuditEntry, 'at'>): Promise<void> {
    const complete: AuditEntry = { at: new Date().toISOString(), ...entry }
    const adding = this.#tail.then(() => this.#append(complete))
    this.#tail = adding.catch(() => {})
    try {
      await adding
    } catch (error) {
      this.#log(`cannot write to the audit log ${this.#file}: ${(error as Error).message}`)
      throw new HttpError(
        500,
        'Cannot write to the audit log, so the action was not performed. See the log of the console for details.',
      )
    }
  }

  /** Returns entries, the newest first. */
  async newest(limit: number): Promise<AuditEntry[]> {
    await this.#tail
    return this.#entries.slice(-Math.min(limit, MAX_ENTRIES)).reverse()
  }

  async close(): Promise<void> {
    await this.#tail
  }

  async #append(entry: AuditEntry): Promise<void> {
    const line = `${JSON.stringify(entry)}\n`
    if (this.#file !== undefined) {
      if (this.#size + line.length > MAX_FILE_SIZE) {
        await rename(this.#file, `${this.#file}.1`)
        this.#size = 0
      }
      await appendFile(this.#file, line, { mode: 0o600 })
      this.#size += Buffer.byteLength(line)
    }
    this.#entries.push(entry)
    if (this.#entries.length > 2 * MAX_ENTRIES) this.#entries = this.#entries.slice(-MAX_ENTRIES)
  }

  async #load(file: string): Promise<void> {
    try {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      const texts = await Promise.all([`${file}.1`, file].map((one) => readFile(one, 'utf8').catch(() => '')))
      this.#entries = texts.join('').split('\n').flatMap(parseEntry).slice(-MAX_ENTRIES)
      this.#size = await stat(file).then(
        ({ size }) => size,
        () => 0,
      )
      // Reports an unwritable file at startup, not at the first action.
      await appendFile(file, '', { mode: 0o600 })
    } catch (error) {
      this.#log(`cannot write to the audit log ${file}: ${(error as Error).message}`)
    }
  }
}

/** Returns the default path of the audit file: in the state directory that systemd sets, else below the home directory. */
export function defaultAuditFile({
  STATE_DIRECTORY,
  XDG_STATE_HOME,
}: Readonly<Record<string, string | undefined>>): string {
  const folder =
    STATE_DIRECTORY?.split(':', 1)[0] ||
    join(XDG_STATE_HOME || join(homeDirectory(), '.local', 'state'), 'session-pgsql')
  return join(folder, 'console-audit.jsonl')
}

/** Returns `/` if the user has no home directory, as the user of a service may not. */
function homeDirectory(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

/** Returns the beginning of an id, at most half of it. */
export function shortenId(id: string): string {
  return `${id.slice(0, Math.min(VISIBLE_ID_LENGTH, Math.floor(id.length / 2)))}…`
}

/** Skips lines that are not valid, such as one that a crash has cut off. */
function parseEntry(line: string): AuditEntry[] {
  try {
    const entry = JSON.parse(line)
    return typeof entry?.at === 'string' && typeof entry.act === 'string' ? [entry] : []
  } catch {
    return []
  }
}
