import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SessionPgsqlError } from '../errors.ts'
import { homeFolder } from './home-folder.ts'
import { invalid } from './syntax.ts'

/**
 * libpq's password file: one `host:port:database:user:password` a line; the first that matches is used. Read here,
 * because node-postgres reads only the file of PGPASSFILE, and plans to drop that.
 */

export interface PasswordFor {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

/** Returns libpq's default path of the password file. */
export function defaultPassfile(): string {
  return process.platform === 'win32'
    ? join(process.env.APPDATA ?? homeFolder(), 'postgresql', 'pgpass.conf')
    : join(homeFolder(), '.pgpass')
}

/**
 * Looks up a password in a password file.
 *
 * @param origin where the path comes from, for messages
 * @returns undefined if the file does not exist or no line matches
 * @throws INVALID_OPTION if other users can access the file; libpq only warns, and the server then rejects the login
 */
export async function passwordFromFile(
  path: string,
  wanted: PasswordFor,
  origin: string,
): Promise<string | undefined> {
  let text: string
  try {
    const { mode } = await stat(path)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw invalid(
        origin,
        `passfile: ${path} is accessible to other users, so it is not used. Fix it with: chmod 600 ${path}`,
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
  // The password is everything after the fourth colon. A backslash escapes a colon or a backslash.
  const match = /^((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):(.*)$/s.exec(line)
  if (match === null) return undefined
  const [, host = '', port = '', database = '', user = '', password = ''] = match
  const fits = (field: string, values: readonly string[]) => field === '*' || values.includes(plain(field))
  // libpq takes a socket in its default directory for "localhost"; that directory depends on its build.
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
