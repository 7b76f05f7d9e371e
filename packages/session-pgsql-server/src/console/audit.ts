import { appendFile, mkdir, readFile, rename, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { Refusal } from './answers.ts'
import type { AuditEntry } from './api.ts'

/** Entries that are kept in memory, and most that are shown. */
const SHOWN = 1000

/** Bytes after which the file is put aside as `FILE.1`, in the place of the one before. */
const MOST = 4 * 1024 * 1024

/** Characters of an id that may be told. */
export const TOLD = 8

/**
 * What was done by whom: one line of JSON for each, appended to a file, so that it survives the console and is not
 * to be changed by it. Two files of 4 MB at most. It holds no data of sessions and of their ids the beginning.
 */
export class AuditLog {
  readonly #file: string | undefined
  readonly #log: (message: string) => void
  #entries: AuditEntry[] = []
  #size = 0
  #tail: Promise<unknown>

  /**
   * @param file undefined: in memory alone
   * @param log where it is said that the file cannot be written
   */
  constructor(file: string | undefined, log: (message: string) => void) {
    this.#file = file
    this.#log = log
    this.#tail = file === undefined ? Promise.resolve() : this.#load(file)
  }

  /** @throws 500 if it cannot be noted: what must be noted is not done then */
  async add(entry: Omit<AuditEntry, 'at'>): Promise<void> {
    const noted: AuditEntry = { at: new Date().toISOString(), ...entry }
    const adding = this.#tail.then(() => this.#append(noted))
    this.#tail = adding.catch(() => {})
    try {
      await adding
    } catch (error) {
      this.#log(`the audit log ${this.#file} cannot be written: ${(error as Error).message}`)
      throw new Refusal(500, 'The audit log cannot be written, and nothing is done without it.')
    }
  }

  /** The newest first. */
  async newest(limit: number): Promise<AuditEntry[]> {
    await this.#tail
    return this.#entries.slice(-Math.min(limit, SHOWN)).reverse()
  }

  async close(): Promise<void> {
    await this.#tail
  }

  async #append(entry: AuditEntry): Promise<void> {
    const line = `${JSON.stringify(entry)}\n`
    if (this.#file !== undefined) {
      if (this.#size + line.length > MOST) {
        await rename(this.#file, `${this.#file}.1`)
        this.#size = 0
      }
      await appendFile(this.#file, line, { mode: 0o600 })
      this.#size += Buffer.byteLength(line)
    }
    this.#entries.push(entry)
    if (this.#entries.length > 2 * SHOWN) this.#entries = this.#entries.slice(-SHOWN)
  }

  async #load(file: string): Promise<void> {
    try {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      const texts = await Promise.all([`${file}.1`, file].map((one) => readFile(one, 'utf8').catch(() => '')))
      this.#entries = texts.join('').split('\n').flatMap(entryOf).slice(-SHOWN)
      this.#size = await stat(file).then(
        ({ size }) => size,
        () => 0,
      )
      // Whether it can be written is better known before somebody acts.
      await appendFile(file, '', { mode: 0o600 })
    } catch (error) {
      this.#log(`the audit log ${file} cannot be written: ${(error as Error).message}`)
    }
  }
}

/** systemd says where a service keeps its state; others keep it at home. */
export function defaultAuditFile({
  STATE_DIRECTORY,
  XDG_STATE_HOME,
}: Readonly<Record<string, string | undefined>>): string {
  const folder =
    STATE_DIRECTORY?.split(':', 1)[0] ||
    join(XDG_STATE_HOME || join(home(), '.local', 'state'), 'session-pgsql')
  return join(folder, 'console-audit.jsonl')
}

/** Of a user who has none, as a service's may have none: `/`. */
function home(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

/** The beginning of an id, and never all of it. */
export function shortened(id: string): string {
  return `${id.slice(0, Math.min(TOLD, Math.floor(id.length / 2)))}…`
}

/** A line that a crash has cut off is no entry. */
function entryOf(line: string): AuditEntry[] {
  try {
    const entry = JSON.parse(line)
    return typeof entry?.at === 'string' && typeof entry.act === 'string' ? [entry] : []
  } catch {
    return []
  }
}
