import { readFileSync } from 'node:fs'
import { UsageError } from './mode.ts'

/** What the modes' command lines have in common. Every failure is a `UsageError` that names the flag. */

type Flags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** A whole number in a range. */
export function numberOf(flags: Flags, flag: string, least: number, most: number): number {
  const text = String(flags[flag] ?? '')
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw new UsageError(`--${flag}: expected a whole number from ${least} to ${most}, got "${text}"`)
}

/** The text of a file that a flag names. */
export function readFlagged(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new UsageError(`${flag}: ${file} cannot be read`)
  }
}

/** The first line of the file that a flag names. */
export function passwordIn(flag: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined
  const [password] = readFlagged(flag, file).split(/\r?\n/, 1)
  if (password === '') throw new UsageError(`${flag}: the password is empty`)
  return password
}

export interface TlsFiles {
  readonly cert: string
  readonly key: string
}

export function tlsOf({ 'tls-cert': cert, 'tls-key': key }: Flags): TlsFiles | undefined {
  if (cert === undefined && key === undefined) return undefined
  if (typeof cert !== 'string' || typeof key !== 'string') {
    throw new UsageError('--tls-cert and --tls-key come together')
  }
  return { cert: readFlagged('--tls-cert', cert), key: readFlagged('--tls-key', key) }
}

/** Whether only this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** Resolves when the process is asked to end. */
export function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
