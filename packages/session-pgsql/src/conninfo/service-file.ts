import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { homeFolder } from './home-folder.ts'
import { KEYWORDS } from './keywords.ts'
import { invalid, type Pairs } from './syntax.ts'

/** One section of a service file. */
export interface Service {
  readonly pairs: Pairs
  /** The section and its file, for messages. */
  readonly origin: string
}

/**
 * Reads a section of libpq's connection service file: `[name]`, then one `keyword=value` a line. Looks in `file`
 * (`servicefile`, PGSERVICEFILE) or ~/.pg_service.conf, then in pg_service.conf of PGSYSCONFDIR.
 *
 * @param requestedBy where the service's name comes from, for messages
 * @throws INVALID_OPTION if no file has the section, or a line of it is invalid
 */
export function readService(
  name: string,
  file: string | undefined,
  environment: Record<string, string | undefined>,
  requestedBy: string,
): Service {
  const files = [file || join(environment.HOME || homeFolder(), '.pg_service.conf')]
  if (environment.PGSYSCONFDIR) files.push(join(environment.PGSYSCONFDIR, 'pg_service.conf'))
  for (const path of files) {
    const pairs = sectionOf(path, name, path === file, requestedBy)
    if (pairs !== undefined) return { pairs, origin: `section [${name}] of ${path}` }
  }
  throw invalid(requestedBy, `service: no section [${name}] in ${files.join(' or ')}`)
}

function sectionOf(path: string, name: string, mustExist: boolean, requestedBy: string): Pairs | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (!mustExist) return undefined
    throw invalid(requestedBy, `servicefile: cannot read ${path} (${(error as NodeJS.ErrnoException).code})`)
  }
  let found: Pairs | undefined
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    if (trimmed.startsWith('[')) {
      if (found !== undefined) return found
      if (trimmed === `[${name}]`) found = new Map()
    } else if (found !== undefined) {
      const equals = trimmed.indexOf('=')
      const keyword = trimmed.slice(0, Math.max(equals, 0))
      if (!Object.hasOwn(KEYWORDS, keyword) || keyword.startsWith('service')) {
        throw invalid(
          requestedBy,
          `service: line ${index + 1} of ${path}: expected keyword=value with a known keyword`,
        )
      }
      // As in libpq, the first value of a keyword counts.
      if (!found.has(keyword)) found.set(keyword, trimmed.slice(equals + 1))
    }
  }
  return found
}
