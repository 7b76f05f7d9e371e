import { SessionPgsqlError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { KEYWORDS } from './keywords.ts'

/**
 * The two spellings of libpq, read as libpq reads them: `keyword=value` pairs and URLs.
 *
 * No message here holds a value: it might be the password. Not even an unknown keyword right behind a password is
 * shown, for in `password=correct horse=battery` it is a part of it.
 */

/** A later value of a keyword replaces an earlier one. */
export type Pairs = Map<string, string>

/** What a message calls a text that must not be shown. */
const THE_STRING = 'the connection string'

/** Splits `db` at semicolons that stand outside quotes. Blank entries are left out. */
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
  // A URL has no quotes; a semicolon in it is percent-encoded.
  if (/^\s*[a-z][a-z0-9+.-]*:/i.test(text.slice(start))) {
    const end = text.indexOf(';', start)
    return end === -1 ? text.length : end
  }
  // As in libpq, a quote counts only where a value begins: `password=it's` has none.
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

/** The position of the closing quote, or of the end where there is none. */
function endOfQuotes(text: string, opening: number): number {
  let i = opening + 1
  while (i < text.length && text[i] !== "'") i += text[i] === '\\' ? 2 : 1
  return i
}

function isBlank(char: string | undefined): boolean {
  return char !== undefined && /[ \t\n\r\f\v]/.test(char)
}

/**
 * @param afterPassword the text before this one ended in a password, which an unquoted semicolon may have cut off
 */
export function parsePairs(text: string, afterPassword = false): Pairs {
  if (text.includes('\0')) throw invalid(`${THE_STRING} holds a NUL character`)
  const url = /^postgres(?:ql)?:\/\//.exec(text)
  return url === null ? parseKeywords(text, afterPassword) : parseUrl(text.slice(url[0].length))
}

function parseKeywords(text: string, afterPassword: boolean): Pairs {
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
        `setting number ${number} of ${THE_STRING} has no "=" behind its keyword. A value that holds blanks must stand in single quotes`,
      )
    }
    i++
    while (isBlank(text[i])) i++
    check(keyword, secret)
    let value = ''
    if (text[i] === "'") {
      const end = endOfQuotes(text, i)
      if (end >= text.length)
        throw invalid(`the value of "${keyword}" has an opening quote but no closing one`)
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
function parseUrl(text: string): Pairs {
  const pairs: Pairs = new Map()
  const put = (keyword: string, value: string) => {
    // libpq: what is empty in a URL counts as not given.
    if (value !== '') pairs.set(keyword, decode(value, keyword))
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
      `${THE_STRING} has an "@" behind the one that ends the user and password. In a user name or password, @ is written %40, / %2F, : %3A, ; %3B, ? %3F`,
    )
  }
  const slash = path.indexOf('/')
  const hosts: string[] = []
  const ports: string[] = []
  for (const part of (slash === -1 ? path : path.slice(0, slash)).split(',')) {
    const [, bracketed, plain = '', port = ''] =
      /^(?:\[([^\]]+)\]|([^:[\]]*))(?::(.*))?$/.exec(part) ?? fail()
    hosts.push(bracketed ?? plain)
    ports.push(port)
  }
  put('host', hosts.join(','))
  put('port', ports.join(','))
  if (slash !== -1) put('dbname', path.slice(slash + 1))
  if (question !== -1) parseQuery(rest.slice(question + 1), pairs)
  return pairs
}

function fail(): never {
  throw invalid(
    `${THE_STRING} is not a URL: expected host, host:port or [IPv6 address]:port between // and /`,
  )
}

function parseQuery(query: string, pairs: Pairs): void {
  if (query === '') return
  let secret = false
  // libpq lets one & stand behind the last.
  for (const parameter of query.replace(/&$/, '').split('&')) {
    const equals = parameter.indexOf('=')
    if (equals === -1 || parameter.indexOf('=', equals + 1) !== -1) {
      throw invalid(
        `a parameter behind the "?" of ${THE_STRING} is not of the form keyword=value. In a value, = is written %3D and & %26`,
      )
    }
    const keyword = decode(parameter.slice(0, equals), 'keyword')
    const value = parameter.slice(equals + 1)
    // libpq takes JDBC's spelling, but only this value of it.
    if (keyword === 'ssl' && value === 'true') {
      pairs.set('sslmode', 'require')
      continue
    }
    check(keyword, secret)
    pairs.set(keyword, decode(value, keyword))
    secret = isSecret(keyword)
  }
}

function decode(text: string, keyword: string): string {
  try {
    const decoded = decodeURIComponent(text)
    if (!decoded.includes('\0')) return decoded
  } catch {
    // The error of decodeURIComponent shows nothing, and says less than the one below.
  }
  throw invalid(
    `the ${isKnown(keyword) ? `"${keyword}"` : 'keyword'} in ${THE_STRING} has a broken percent-encoding`,
  )
}

function isKnown(keyword: string): boolean {
  return Object.hasOwn(KEYWORDS, keyword)
}

function check(keyword: string, afterPassword: boolean): void {
  if (isKnown(keyword)) return
  const hint = nearest(keyword, Object.keys(KEYWORDS))
  const meant = hint === undefined ? '' : `; did you mean "${hint}"?`
  const showable = !afterPassword && /^[A-Za-z_][A-Za-z0-9_]{0,40}$/.test(keyword)
  if (showable) throw invalid(`unknown keyword "${keyword}" in ${THE_STRING}${meant}`)
  const advice =
    meant !== '' ? meant : '. If the password holds blanks, quotes or semicolons, put it into single quotes'
  throw invalid(`unknown keyword${afterPassword ? ' behind the password' : ''} in ${THE_STRING}${advice}`)
}

export function invalid(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', `db: ${message}`)
}

/** Whether an entry of `db` ends in a password without quotes, so that a semicolon in it has cut it off. */
export function endsInPassword(entry: string | undefined): boolean {
  return entry !== undefined && /(?:password|secret)\s*=\s*[^\s']\S*$/.test(entry)
}
