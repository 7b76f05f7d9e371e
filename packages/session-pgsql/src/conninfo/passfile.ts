import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SessionPgsqlError } from '../errors.ts'
import { homeFolder } from './home-folder.ts'

/**
 * libpq's password file: `host:port:database:user:password`, one entry a line, the first that fits counts. It
 * is read here because node-postgres reads only the file of PGPASSFILE, and will not much longer.
 */

export interface PasswordFor {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

/** Where libpq looks for it if nobody says. */
export function defaultPassfile(): string {
  return process.platform === 'win32'
    ? join(process.env.APPDATA ?? homeFolder(), 'postgresql', 'pgpass.conf')
    : join(homeFolder(), '.pgpass')
}

/**
 * @returns undefined if there is no such file, or nothing in it fits
 * @throws {SessionPgsqlError} INVALID_OPTION: others may read the file. libpq warns and goes on without it, so
 *   that the server refuses; here the reason is said at once.
 */
export async function passwordFromFile(path: string, wanted: PasswordFor): Promise<string | undefined> {
  let text: string
  try {
    const { mode } = await stat(path)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new SessionPgsqlError(
        'INVALID_OPTION',
        `the password file ${path} can be read or written by others, so it is not used. Mend it with: chmod 600 ${path}`,
      )
    }
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof SessionPgsqlError) throw error
    return undefined
  }
  for (const line of text.split(/\r?\n/)) {
    const password = passwordOf(line, wanted)
    if (password !== undefined) return password
  }
  return undefined
}

function passwordOf(line: string, wanted: PasswordFor): string | undefined {
  if (line.startsWith('#')) return undefined
  // The password is all behind the fourth colon; a backslash keeps a colon or a backslash what it is.
  const match = /^((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):(.*)$/s.exec(line)
  if (match === null) return undefined
  const [, host = '', port = '', database = '', user = '', password = ''] = match
  const fits = (field: string, values: readonly string[]) => field === '*' || values.includes(plain(field))
  // A socket in the usual place is "localhost" to libpq; which place that is, only its build knows.
  const hosts = wanted.host.startsWith('/') ? [wanted.host, 'localhost'] : [wanted.host]
  return fits(host, hosts) &&
    fits(port, [String(wanted.port)]) &&
    fits(database, [wanted.database]) &&
    fits(user, [wanted.user])
    ? plain(password)
    : undefined
}

function plain(field: string): string {
  return field.replaceAll(/\\(.)/gs, '$1')
}
