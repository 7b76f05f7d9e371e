import { readFileSync } from 'node:fs'
import { SessionPgsqlError } from './errors.ts'

/**
 * Reads the directives of a php.ini as PHP does. General .ini parsers read other values from the same file: quotes,
 * backslashes, `${…}`, `On` and sections have a meaning of their own in PHP.
 *
 * PHP's constants (`E_ALL`) stay words, because only PHP knows their values. No directive of session_pgsql needs one.
 */

export interface PhpIniSources {
  /** The variables for `${NAME}`. @default process.env */
  environment?: Record<string, string | undefined> | undefined
  /** The path shown in error messages. @default 'php.ini' */
  path?: string | undefined
}

/**
 * Reads the directives of a php.ini file as PHP reads them, with quotes, comments, `${ENV}`, On and Off.
 *
 * @returns directives that apply everywhere, the last value of each
 * @throws INVALID_OPTION if the file cannot be read, or PHP would stop reading it at a syntax error
 */
export function readPhpIni(path: string): Map<string, string> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new SessionPgsqlError('INVALID_OPTION', `cannot read the php.ini ${path}`, { cause })
  }
  return parsePhpIni(text, { path })
}

/**
 * Returns the directives that apply everywhere, the last value of each. Leaves out directives in `[PATH=…]` and
 * `[HOST=…]` sections, and arrays (`name[] = value`).
 */
export function parsePhpIni(text: string, sources: PhpIniSources = {}): Map<string, string> {
  const directives = new Map<string, string>()
  const { environment = process.env, path = 'php.ini' } = sources
  // As in PHP, earlier directives come before the environment.
  const lookUp = (name: string): string | undefined => directives.get(name) ?? environment[name]
  // PHP stops reading at a NUL character without an error.
  if (text.includes('\0')) throw new SessionPgsqlError('INVALID_OPTION', `${path} contains a NUL character`)
  const scanner = new Scanner(text.startsWith('\uFEFF') ? text.slice(1) : text, lookUp, path)
  let everywhere = true
  for (let statement = scanner.next(); statement !== undefined; statement = scanner.next()) {
    if ('section' in statement) {
      // No section ends it: directives in [other] after [PATH=/www] still apply to that path only.
      everywhere &&= !/^(?:path|host)./is.test(statement.section)
    } else if (everywhere) {
      if (statement.value === undefined) directives.delete(statement.name)
      else directives.set(statement.name, statement.value)
    }
  }
  return directives
}

/** `value` is undefined for an array. */
type Statement = { readonly section: string } | { readonly name: string; readonly value: string | undefined }

const TRUE_WORD = /^(?:true|on|yes)$/i
const FALSE_WORD = /^(?:false|off|no|none|null)$/i

/** Sticky, so that they match at the position of the scanner. */
const BLANKS = /[ \t]*/y
const GAP = /[ \t\r\n]*/y
const COMMENT = /;[^\r\n]*/y
const END_OF_LINE = /[ \t]*(?:\r\n?|\n|$|;[^\r\n]*(?:\r\n?|\n|$))/y
const NAME = /[^=\n\r\t;&|^$~(){}!"[\]\0]+/y
const WORD = /(?:[^$= \t\n\r;&|^~()!"'\0]|\$(?:\\.|[^{\0]))+/sy
const RAW = /'[^']+'/y
/** PHP ends a value at two single quotes; the second begins a name, which is ignored without a value. */
const EMPTY_RAW = /'(?=')/y
const VARIABLE = /\$\{([^=\n\r\t;&|^$~(){}!"[\]\0]+)\}/y
/** Between brackets, where a backslash escapes the next character. */
const BRACKETED = /[^$\n\r;"'\]\\]+|\\.|\$/sy
const QUOTE = /[ \t]*"/y

class Scanner {
  readonly #text: string
  readonly #lookUp: (name: string) => string | undefined
  readonly #path: string
  #at = 0

  constructor(text: string, lookUp: (name: string) => string | undefined, path: string) {
    this.#text = text
    this.#lookUp = lookUp
    this.#path = path
  }

  /** Returns the next statement, or undefined at the end. */
  next(): Statement | undefined {
    for (;;) {
      this.#take(GAP)
      if (this.#at >= this.#text.length) return undefined
      if (this.#take(COMMENT) !== undefined) continue
      if (this.#char() === '[') return { section: this.#section() }
      // After a blank, PHP does not take the `yes` of `yes = 1` for a truth value.
      const indented = this.#text[this.#at - 1] === ' '
      const name = this.#take(NAME)?.trim()
      if (name === undefined || (!indented && (TRUE_WORD.test(name) || FALSE_WORD.test(name)))) {
        throw this.#unexpected()
      }
      this.#take(BLANKS)
      const isArray = this.#char() === '['
      if (isArray) this.#offset()
      if (this.#char() === '=') {
        this.#at++
        this.#take(BLANKS)
        const value = this.#value()
        return { name, value: isArray ? undefined : value }
      }
      if (isArray) throw this.#unexpected()
      // A name without a value is ignored.
    }
  }

  #section(): string {
    return this.#brackets(/\][ \t]*/y)
  }

  #offset(): void {
    this.#brackets(/[ \t]*\][ \t]*/y)
  }

  #brackets(end: RegExp): string {
    this.#at++
    let text = ''
    while (this.#take(end) === undefined) {
      text += this.#quoted() ?? this.#raw() ?? this.#variable() ?? this.#take(BRACKETED) ?? this.#fail()
    }
    return text
  }

  #value(): string {
    if (this.#end()) return ''
    const word = this.#peek(WORD)
    if (word !== undefined && (TRUE_WORD.test(word) || FALSE_WORD.test(word))) {
      this.#at += word.length
      if (!this.#end()) throw this.#unexpected()
      return TRUE_WORD.test(word) ? '1' : ''
    }
    const value = this.#expression()
    if (!this.#end()) throw this.#unexpected()
    return value
  }

  #end(): boolean {
    return (this.#take(END_OF_LINE) ?? this.#take(EMPTY_RAW)) !== undefined
  }

  /** `|`, `&` and `^` are integer operators, evaluated from left to right. */
  #expression(): string {
    let value = this.#operand()
    for (;;) {
      const operator = this.#take(/[ \t]*[|&^]/y)?.trim()
      if (operator === undefined) return value
      this.#take(BLANKS)
      const right = this.#operand()
      const [a, b] = [whole(value), whole(right)]
      value = String(operator === '|' ? a | b : operator === '&' ? a & b : a ^ b)
    }
  }

  #operand(): string {
    const operator = this.#take(/[~!(]/y)
    if (operator === undefined) return this.#string()
    this.#take(BLANKS)
    if (operator === '(') {
      const value = this.#expression()
      if (this.#take(/[ \t]*\)[ \t]*/y) === undefined) throw this.#unexpected()
      return value
    }
    const value = whole(this.#operand())
    return String(operator === '~' ? ~value : Number(!value))
  }

  /** Adjacent words, quotes and variables are one string. */
  #string(): string {
    let value = ''
    for (let parts = 0; ; parts++) {
      const end = this.#peek(END_OF_LINE) ?? this.#peek(EMPTY_RAW) ?? this.#peek(/[ \t]*[=|&^~!()]/y)
      if (end !== undefined) {
        if (parts === 0) throw this.#unexpected()
        return value
      }
      const part = this.#quoted() ?? this.#raw() ?? this.#variable() ?? this.#word() ?? this.#take(/[ \t]+/y)
      if (part === undefined) throw this.#unexpected()
      value += part
    }
  }

  /** Single quotes have no escapes. */
  #raw(): string | undefined {
    if (this.#char() !== "'") return undefined
    return (this.#take(RAW) ?? this.#fail()).slice(1, -1)
  }

  #word(): string | undefined {
    const word = this.#peek(WORD)
    // PHP takes these words for truth values even in the middle of a value, where it rejects them.
    if (word !== undefined && (TRUE_WORD.test(word) || FALSE_WORD.test(word))) throw this.#unexpected()
    return this.#take(WORD)
  }

  #variable(): string | undefined {
    if (!this.#text.startsWith('${', this.#at)) return undefined
    const [, inside] = this.#match(VARIABLE) ?? []
    if (inside === undefined) throw this.#unexpected()
    this.#take(VARIABLE)
    // `${NAME:-fallback}`, since PHP 8.3.
    const [, name = inside, fallback = ''] = /^(.*?):-(.*)$/s.exec(inside) ?? []
    return this.#lookUp(name.trim()) ?? fallback
  }

  #quoted(): string | undefined {
    const start = this.#at
    if (this.#take(QUOTE) === undefined) return undefined
    let value = ''
    for (;;) {
      const char = this.#char()
      if (char === '') throw this.#unexpected(start)
      const variable = this.#variable()
      if (variable !== undefined) {
        value += variable
      } else if (char === '"') {
        this.#at++
        this.#take(BLANKS)
        return value
      } else if (char === '\\') {
        value += this.#escape()
      } else {
        value += char
        this.#at++
      }
    }
  }

  /** A backslash escapes a double quote, a dollar sign or a backslash; before anything else it is literal. */
  #escape(): string {
    const char = this.#text[this.#at + 1]
    // The quote closes in "C:\folder\" at the end of a line.
    const closes = char === '"' && /^[\r\n]?$/.test(this.#text.slice(this.#at + 2, this.#at + 3))
    if (char === undefined || closes || !/["\\$]/.test(char)) {
      this.#at++
      return '\\'
    }
    this.#at += 2
    return char
  }

  #char(): string {
    return this.#text[this.#at] ?? ''
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    return pattern.exec(this.#text)
  }

  #peek(pattern: RegExp): string | undefined {
    return this.#match(pattern)?.[0]
  }

  #take(pattern: RegExp): string | undefined {
    const found = this.#peek(pattern)
    if (found !== undefined) this.#at += found.length
    return found
  }

  #fail(): never {
    throw this.#unexpected()
  }

  /** The message has the position but not the text: the line may contain a password. */
  #unexpected(at: number = this.#at): SessionPgsqlError {
    const line = this.#text.slice(0, at).split(/\r\n?|\n/).length
    return new SessionPgsqlError(
      'INVALID_OPTION',
      `${this.#path}, line ${line}: syntax error, at which PHP would stop reading. Put a value that contains any of ; = & | ^ ~ ! ( ) { } " into double quotes`,
    )
  }
}

/** Returns the integer at the beginning of a text, as C's atoi does. */
function whole(text: string): number {
  return Number.parseInt(text, 10) || 0
}
