import { closeSync, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'
import { isIP } from 'node:net'
import process from 'node:process'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { type EncryptionOption, readPhpIni, type SaveHandlerOptions } from 'session-pgsql'

/** How the modes read their flags. Every failure is a `UsageError` whose message names the flag. */

/** A command line, or a file that it names, that the server cannot run with. */
export class UsageError extends Error {}

/** Flags by name, as `parseArgs` of Node.js takes them. */
export type FlagOptions = NonNullable<ParseArgsConfig['options']>

/** Flags of every mode. */
const COMMON = {
  ini: { type: 'string' },
  db: { type: 'string' },
  table: { type: 'string' },
  'encryption-keys': { type: 'string' },
  ids: { type: 'string' },
  host: { type: 'string', default: '127.0.0.1' },
  'password-file': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

/** The values of a mode's own flags `Own` and of the common ones. */
export type FlagValues<Own extends FlagOptions> = ReturnType<
  typeof parseArgs<{ options: typeof COMMON & Own; strict: true }>
>['values']

type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>

type Environment = Readonly<Record<string, string | undefined>>

/** @throws UsageError for a flag that is unknown or lacks its value */
export function parseFlags<Own extends FlagOptions>(argv: readonly string[], own: Own): FlagValues<Own> {
  try {
    const options = { ...COMMON, ...own }
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

/** Returns the whole number that a flag gives. @throws UsageError if it is not from `min` to `max` */
export function numberOf(flags: Values, flag: string, min: number, max: number): number {
  const text = String(flags[flag] ?? '')
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw new UsageError(`--${flag}: expected a whole number from ${min} to ${max}, received "${text}"`)
}

/** Returns a port; 0: any free port. */
export function portOf(flags: Values, flag: string): number {
  return numberOf(flags, flag, 0, 65_535)
}

/** Returns the directives of the php.ini that `--ini` names; empty without the flag. */
export function iniOf({ ini }: Values): Map<string, string> {
  return typeof ini === 'string' ? readPhpIni(ini) : new Map()
}

/** Returns the keys in the file that `--encryption-keys` names; undefined without the flag: those in the environment. */
export function encryptionOf({ 'encryption-keys': file }: Values): EncryptionOption | undefined {
  return typeof file === 'string' ? { keys: readSecret('--encryption-keys', file) } : undefined
}

/** Returns `--ids`, which the save handler checks. */
export function idsOf({ ids }: Values): SaveHandlerOptions['ids'] {
  return ids as SaveHandlerOptions['ids']
}

/**
 * Returns a password: the first line of the file that a flag names, else the environment variable. As PostgreSQL does
 * with private keys, it refuses a file that other users can read; the group may read a file of root.
 *
 * @returns undefined if neither is set
 */
export function passwordOf(
  flags: Values,
  flag: string,
  environment: Environment,
  variable: string,
): string | undefined {
  const file = flags[flag]
  const [source, password] =
    typeof file === 'string'
      ? [`--${flag}`, readSecret(`--${flag}`, file).split(/\r?\n/, 1)[0]]
      : [variable, environment[variable]]
  if (password === '') throw new UsageError(`${source}: the password is empty`)
  return password
}

/** @throws UsageError if other machines can connect and there is no password */
export function requirePassword(host: string, password: unknown): void {
  if (password !== undefined || isLoopback(host)) return
  throw new UsageError(
    `--host ${host} accepts connections from other machines: set a password (--password-file), or listen on 127.0.0.1`,
  )
}

/** Certificate and key as PEM texts. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
}

/** Returns the texts of `--tls-cert` and `--tls-key`; undefined without these flags. */
export function tlsOf({ 'tls-cert': cert, 'tls-key': key }: Values): TlsFiles | undefined {
  if (cert === undefined && key === undefined) return undefined
  if (typeof cert !== 'string' || typeof key !== 'string') {
    throw new UsageError('--tls-cert and --tls-key must be set together')
  }
  return { cert: read('--tls-cert', cert), key: read('--tls-key', key) }
}

/** Returns true if only this machine can connect to the address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** Returns the host as it is written in a URL: an IPv6 address is in brackets. */
export function hostInUrl(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host
}

function read(flag: string, file: string, check: (stats: Stats) => void = () => {}): string {
  let opened: number | undefined
  try {
    opened = openSync(file, 'r')
    check(fstatSync(opened))
    return readFileSync(opened, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError(`${flag}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  } finally {
    if (opened !== undefined) closeSync(opened)
  }
}

function readSecret(flag: string, file: string): string {
  return read(flag, file, (stats) => {
    const tooOpen = stats.uid === 0 ? 0o037 : 0o077
    // Windows has no such modes. A pipe, as of a shell's <(...), is read by this process alone.
    if (process.platform === 'win32' || !stats.isFile() || (stats.mode & tooOpen) === 0) return
    const mode = (stats.mode & 0o777).toString(8)
    throw new UsageError(`${flag}: other users can access ${file} (mode ${mode}). Run: chmod 600 ${file}`)
  })
}
