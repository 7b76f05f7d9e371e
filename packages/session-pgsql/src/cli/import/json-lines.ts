import { createReadStream } from 'node:fs'
import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { SessionPgsqlError } from '../../errors.ts'
import { inBatches, type Source, type SourceSession } from './source.ts'

/** Seconds since 1970 above which a number is milliseconds: the year 5138. */
const MOST_SECONDS = 1e11

/**
 * Reads a file with a JSON object in each line: `id`, `data`, and optionally `expires` (an ISO 8601 date with a time
 * zone, or seconds since 1970) and `custom`. It is the snapshot of a store: a session that a later snapshot lacks has
 * ended.
 *
 * @throws SessionPgsqlError INVALID_OPTION if the file cannot be read
 */
export async function jsonLinesSource(file: string): Promise<Source> {
  const path = resolve(file)
  await access(path).catch((cause: unknown) => {
    throw new SessionPgsqlError(
      'INVALID_OPTION',
      `--source: cannot read the file ${path} (${(cause as { code?: string }).code}).`,
      { cause },
    )
  })
  return {
    name: `jsonl ${path}`,
    close: async () => {},
    count: async () => undefined,
    batches: () => inBatches(sessionsOf(path)),
    findLive: async () => new Set(),
  }
}

async function* sessionsOf(path: string): AsyncGenerator<SourceSession> {
  let number = 0
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    number++
    if (line.trim() !== '') yield parseLine(line, number)
  }
}

/** Returns a session without text, which counts as unreadable, for a line that is not in the format. */
function parseLine(line: string, number: number): SourceSession {
  let parsed: { id?: unknown; data?: unknown; expires?: unknown; custom?: unknown } | null
  try {
    parsed = JSON.parse(line)
  } catch {
    parsed = null
  }
  const { id, data, expires, custom } = parsed ?? {}
  const moment = expires == null ? undefined : momentOf(expires)
  const customText = typeof custom === 'number' ? String(custom) : custom
  const isValid =
    typeof id === 'string' && !Number.isNaN(moment) && (customText == null || typeof customText === 'string')
  if (!isValid) return { id: typeof id === 'string' ? id : `line ${number}`, text: '', expires: undefined }
  return {
    id,
    text: JSON.stringify(data) ?? '',
    expires: moment === undefined ? undefined : performance.now() + moment - Date.now(),
    ...(customText != null && { custom: customText as string }),
  }
}

/** Returns milliseconds since 1970; NaN for anything else than the two forms of a date. */
function momentOf(expires: unknown): number {
  if (typeof expires === 'number') return expires < MOST_SECONDS ? expires * 1000 : Number.NaN
  const isIso = typeof expires === 'string' && /^\d{4}-\d\d-\d\dT.*(?:Z|[+-]\d\d:?\d\d)$/.test(expires)
  return isIso ? Date.parse(expires) : Number.NaN
}
