/** Replies in RESP 2, the protocol of Redis. */

const CRLF = '\r\n'

export const OK = '+OK\r\n'
export const NIL = '$-1\r\n'
export const SYNTAX_ERROR = '-ERR syntax error\r\n'

export type Reply = string | Buffer

/** A command that the client sent wrongly. The message is the reply; it begins with a code, as Redis' errors do. */
export class CommandError extends Error {}

export function simple(text: string): string {
  return `+${text}${CRLF}`
}

export function integer(value: number): string {
  return `:${value}${CRLF}`
}

export function bulk(value: string | Uint8Array): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([Buffer.from(`$${bytes.length}${CRLF}`), bytes, Buffer.from(CRLF)])
}

export function jsonOrNil(value: unknown): Reply {
  return value === undefined ? NIL : bulk(JSON.stringify(value))
}

export function array(items: readonly Reply[]): Buffer {
  return Buffer.concat([
    Buffer.from(`*${items.length}${CRLF}`),
    ...items.map((item) => (typeof item === 'string' ? Buffer.from(item) : item)),
  ])
}

/** @param text begins with a code in capitals, as Redis' errors do */
export function failure(text: string): string {
  // An error reply is one line; the message of an error may have several.
  return `-${text.replaceAll(/[\r\n]+/g, ' ')}${CRLF}`
}

export function isFailure(reply: Reply): boolean {
  return typeof reply === 'string' && reply.startsWith('-')
}
