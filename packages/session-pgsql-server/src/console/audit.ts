import { homedir } from 'node:os'
import { join } from 'node:path'
import type { AuditEntry } from './api.ts'
import { AuditFile } from './audit-file.ts'
import { HttpError } from './responses.ts'

/** The number of entries in memory, and the maximum that the page can request. */
const MAX_ENTRIES = 1000

/** The maximum number of characters of an id that the audit log and readers see. */
export const VISIBLE_ID_LENGTH = 8

/** Entries of one act that clients other than operators may cause at once, and the seconds until one more. */
const ALLOWANCE = 50
const REFILL = 300

/** Receives each line of the audit log as it is written. */
export type AuditSink = (line: string) => void

/** Entries of one act that were not written. */
interface Allowance {
  left: number
  /** On the clock of `performance.now()`, in seconds. */
  at: number
  omitted: number
  last: AuditEntry | undefined
}

/**
 * Records who did what: one line of JSON per action, appended to a file, at most two files of 4 MB. The log holds no
 * session data, and only the beginning of session ids.
 *
 * Every action of an operator is recorded. Failed sign-ins, and sign-ins and sign-outs of readers, can be repeated at
 * will: only 50 are recorded at once, then one in five minutes. The next entry says how many were omitted. So they cannot
 * push other entries out of the file.
 */
export class AuditLog {
  readonly #file: AuditFile | undefined
  readonly #sinks: readonly AuditSink[]
  readonly #log: (message: string) => void
  readonly #allowances = new Map<AuditEntry['act'], Allowance>()
  #entries: AuditEntry[] = []
  #tail: Promise<unknown>

  /**
   * @param file undefined: the log is in memory only, and the sinks receive nothing
   * @param log receives a message if the file cannot be written
   */
  constructor(file: string | undefined, sinks: readonly AuditSink[], log: (message: string) => void) {
    this.#file = file === undefined ? undefined : new AuditFile(file)
    this.#sinks = sinks
    this.#log = log
    this.#tail = this.#load()
  }

  /** @throws 500 if the file cannot be written; the caller must then not perform the action */
  async add(entry: Omit<AuditEntry, 'at'>): Promise<void> {
    const complete: AuditEntry = { at: new Date().toISOString(), ...entry }
    const adding = this.#tail.then(() => this.#addIfAllowed(complete))
    this.#tail = adding.catch(() => {})
    try {
      await adding
    } catch (error) {
      this.#logFailure(error)
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

  /** Records what was omitted, and waits for entries in progress. */
  async close(): Promise<void> {
    await this.#tail
    for (const { last, omitted } of this.#allowances.values()) {
      if (last === undefined || omitted === 0) continue
      // The last one is not omitted any more.
      await this.#append(omitted === 1 ? last : { ...last, omitted: omitted - 1 }).catch(this.#logFailure)
    }
    this.#allowances.clear()
  }

  async #addIfAllowed(entry: AuditEntry): Promise<void> {
    const isOperator = entry.role === 'operator'
    const omitted = isOperator ? 0 : this.#takeAllowance(entry)
    if (omitted === undefined) return
    await this.#append(omitted === 0 ? entry : { ...entry, omitted })
  }

  /** @returns the number of entries of this act that were omitted before; undefined if this one must be omitted, too */
  #takeAllowance(entry: AuditEntry): number | undefined {
    const now = performance.now() / 1000
    const allowance = this.#allowances.get(entry.act) ?? {
      ...{ left: ALLOWANCE, at: now, omitted: 0, last: undefined },
    }
    this.#allowances.set(entry.act, allowance)
    allowance.left = Math.min(ALLOWANCE, allowance.left + (now - allowance.at) / REFILL)
    allowance.at = now
    if (allowance.left < 1) {
      allowance.omitted++
      allowance.last = entry
      return undefined
    }
    const { omitted } = allowance
    allowance.left--
    allowance.omitted = 0
    return omitted
  }

  async #append(entry: AuditEntry): Promise<void> {
    if (this.#file !== undefined) {
      const line = await this.#file.append(entry)
      for (const sink of this.#sinks) sink(line)
    }
    this.#entries.push(entry)
    if (this.#entries.length > 2 * MAX_ENTRIES) this.#entries = this.#entries.slice(-MAX_ENTRIES)
  }

  async #load(): Promise<void> {
    try {
      const lines = (await this.#file?.open()) ?? []
      this.#entries = lines.slice(-MAX_ENTRIES).flatMap(parseEntry)
    } catch (error) {
      // Reports an unwritable file at startup, not at the first action.
      this.#logFailure(error)
    }
  }

  readonly #logFailure = (error: unknown): void => {
    this.#log(`cannot write to the audit log ${this.#file?.path}: ${(error as Error).message}`)
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
    const { number: _, previous: __, ...entry } = JSON.parse(line)
    return typeof entry?.at === 'string' && typeof entry.act === 'string' ? [entry] : []
  } catch {
    return []
  }
}
