import { SessionPgsqlError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { KEYWORDS } from './keywords.ts'

/**
 * Parses the two forms of libpq's connection strings, `keyword=value` pairs and URLs, as libpq does.
 *
 * No message contains a value, because it may be the password. Nor does it contain an unknown keyword that follows a
 * password, because it may be part of the password, as in `password=correct horse=battery`.
 */

/** A later value of a keyword replaces an earlier one. */
export type Pairs = Map<string, string>

/** Used in messages instead of the text, which must not be shown. */
const THE_STRING = 'the connection string'

/** Splits `db` at semicolons outside quotes. Leaves out empty entries. */
export function splitEntries(text: string): string[] {
  const entries: string[] = []
  let start = 0
  while (start <= text.length) {
    const end = endOfEntry(text, start)
    const entry = text.slice(start, end).trim()
    if (entry !== '') entries.push(entry)
    start = end + 1
  }
  return entries
}

function endOfEntry(text: string, start: number): number {
  // URLs have no quotes; a semicolon in a URL is percent-encoded.
  if (/^\s*[a-z][a-z0-9+.-]*:/i.test(text.slice(start))) {
    const end = text.indexOf(';', start)
    return end === -1 ? text.length : end
  }
  // As in libpq, a value is quoted only if it begins with a quote: `password=it's` is not.
  let i = start
  while (i < text.length) {
    while (i < text.length && text[i] !== '=' && text[i] !== ';') i++
    if (i >= text.length || text[i] === ';') return i
    i++
    while (isBlank(text[i])) i++
    if (text[i] === "'") i = endOfQuotes(text, i) + 1
    else while (i < text.length && !isBlank(text[i]) && text[i] !== ';') i += text[i] === '\\' ? 2 : 1
  }
  return text.length
}

/** Returns the position of the closing quote, or the end of the text if there is none. */
function endOfQuotes(text: string, opening: number): number {
  let i = opening + 1
  while (i < text.length && text[i] !== "'") i += text[i] === '\\' ? 2 : 1
  return i
}

function isBlank(char: string | undefined): boolean {
  return char !== undefined && /[ \t\n\r\f\v]/.test(char)
}

/**
 * Parses a connection string of either form.
 *
 * @param origin where the text comes from, for messages
 * @param afterPassword the previous text ended in a password, which an unquoted semicolon may have cut off
 */
export function parsePairs(text: string, origin: string, afterPassword = false): Pairs {
  if (text.includes('\0')) throw invalid(origin, `${THE_STRING} contains a NUL character`)
  const url = /^postgres(?:ql)?:\/\//.exec(text)
  return url === null
    ? parseKeywords(text, origin, afterPassword)
    : parseUrl(text.slice(url[0].length), origin)
}

function parseKeywords(text: string, origin: string, afterPassword: boolean): Pairs {
  const pairs: Pairs = new Map()
  let secret = afterPassword
  let i = 0
  for (let number = 1; ; number++) {
    while (isBlank(text[i])) i++
    if (i >= text.length) return pairs
    const start = i
    while (i < text.length && text[i] !== '=' && !isBlank(text[i])) i++
    const keyword = text.slice(start, i)
    while (isBlank(text[i])) i++
    if (text[i] !== '=') {
      throw invalid(
        origin,
        `setting number ${number} of ${THE_STRING} has no "=" after its keyword. Put a value that contains blanks into single quotes`,
      )
    }
    i++
    while (isBlank(text[i])) i++
    check(keyword, origin, secret)
    let value = ''
    if (text[i] === "'") {
      const end = endOfQuotes(text, i)
      if (end >= text.length) throw invalid(origin, `the value of "${keyword}" has no closing quote`)
      value = unescaped(text.slice(i + 1, end))
      i = end + 1
    } else {
      const first = i
      while (i < text.length && !isBlank(text[i])) i += text[i] === '\\' ? 2 : 1
      value = unescaped(text.slice(first, i))
    }
    pairs.set(keyword, value)
    secret = isSecret(keyword)
  }
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.?)/gs, '$1')
}

export function isSecret(keyword: string): boolean {
  return /password|secret|scram/.test(keyword)
}

/** `[user[:password]@][host[:port]][,...][/dbname][?keyword=value&...]` */
function parseUrl(text: string, origin: string): Pairs {
  const pairs: Pairs = new Map()
  const put = (keyword: string, value: string) => {
    // As in libpq, an empty part of a URL is unset.
    if (value !== '') pairs.set(keyword, decode(value, keyword, origin))
  }
  const credentials = /^([^@/]*)@/.exec(text)
  let rest = text
  if (credentials !== null) {
    const [, both = ''] = credentials
    const colon = both.indexOf(':')
    put('user', colon === -1 ? both : both.slice(0, colon))
    if (colon !== -1) put('password', both.slice(colon + 1))
    rest = text.slice(credentials[0].length)
  }
  const question = rest.indexOf('?')
  const path = question === -1 ? rest : rest.slice(0, question)
  if (path.includes('@')) {
    throw invalid(
      origin,
      `${THE_STRING} has more than one "@". Percent-encode special characters in user name and password: @ as %40, / as %2F, : as %3A, ; as %3B, ? as %3F`,
    )
  }
  const slash = path.indexOf('/')
  const hosts: string[] = []
  const ports: string[] = []
  for (const part of (slash === -1 ? path : path.slice(0, slash)).split(',')) {
    const [, bracketed, plain = '', port = ''] =
      /^(?:\[([^\]]+)\]|([^:[\]]*))(?::(.*))?$/.exec(part) ?? fail(origin)
    hosts.push(bracketed ?? plain)
    ports.push(port)
  }
  put('host', hosts.join(','))
  put('port', ports.join(','))
  if (slash !== -1) put('dbname', path.slice(slash + 1))
  if (question !== -1) parseQuery(rest.slice(question + 1), pairs, origin)
  return pairs
}

function fail(origin: string): never {
  throw invalid(
    origin,
    `${THE_STRING} is not a valid URL: expected host, host:port or [IPv6 address]:port between // and /`,
  )
}

function parseQuery(query: string, pairs: Pairs, origin: string): void {
  if (query === '') return
  let secret = false
  // As in libpq, one & may follow the last parameter.
  for (const parameter of query.replace(/&$/, '').split('&')) {
    const equals = parameter.indexOf('=')
    if (equals === -1 || parameter.indexOf('=', equals + 1) !== -1) {
      throw invalid(
        origin,
        `expected keyword=value for each parameter after the "?" of ${THE_STRING}. Write = in a value as %3D, and & as %26`,
      )
    }
    const keyword = decode(parameter.slice(0, equals), 'keyword', origin)
    const value = parameter.slice(equals + 1)
    // As libpq, supports JDBC's spelling for this value only.
    if (keyword === 'ssl' && value === 'true') {
      pairs.set('sslmode', 'require')
      continue
    }
    check(keyword, origin, secret)
    pairs.set(keyword, decode(value, keyword, origin))
    secret = isSecret(keyword)
  }
}

function decode(text: string, keyword: string, origin: string): string {
  try {
    const decoded = decodeURIComponent(text)
    if (!decoded.includes('\0')) return decoded
  } catch {
    // The error below is more helpful than that of decodeURIComponent.
  }
  throw invalid(
    origin,
    `the ${isKnown(keyword) ? `"${keyword}"` : 'keyword'} in ${THE_STRING} has an invalid percent-encoding`,
  )
}

function isKnown(keyword: string): boolean {
  return Object.hasOwn(KEYWORDS, keyword)
}

function check(keyword: string, origin: string, afterPassword: boolean): void {
  if (isKnown(keyword)) return
  const hint = nearest(keyword, Object.keys(KEYWORDS))
  const meant = hint === undefined ? '' : `; did you mean "${hint}"?`
  const showable = !afterPassword && /^[A-Za-z_][A-Za-z0-9_]{0,40}$/.test(keyword)
  if (showable) throw invalid(origin, `unknown keyword "${keyword}" in ${THE_STRING}${meant}`)
  const advice =
    meant !== ''
      ? meant
      : '. If the password contains blanks, quotes or semicolons, put it into single quotes'
  throw invalid(
    origin,
    `unknown keyword${afterPassword ? ' after the password' : ''} in ${THE_STRING}${advice}`,
  )
}

/** @param origin where the setting comes from: "option db", "environment variable PGSSLMODE" */
export function invalid(origin: string, message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', `${origin}: ${message}`)
}

/** Returns true if an entry of `db` ends in an unquoted password, which a semicolon in it may have cut off. */
export function endsInPassword(entry: string | undefined): boolean {
  return entry !== undefined && /(?:password|secret)\s*=\s*[^\s']\S*$/.test(entry)
}
