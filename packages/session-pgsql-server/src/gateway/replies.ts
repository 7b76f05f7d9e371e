/** Answers in RESP 2. */

const CRLF = '\r\n'

export const OK = '+OK\r\n'
export const NIL = '$-1\r\n'

export type Reply = string | Buffer

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

export function array(items: readonly Reply[]): Buffer {
  return Buffer.concat([
    Buffer.from(`*${items.length}${CRLF}`),
    ...items.map((item) => (typeof item === 'string' ? Buffer.from(item) : item)),
  ])
}

export function isFailure(reply: Reply): boolean {
  return typeof reply === 'string' && reply.startsWith('-')
}

/** @param text begins with a code in capitals, as Redis' errors do */
export function failure(text: string): string {
  // An answer is one line, whatever an error says.
  return `-${text.replaceAll(/[\r\n]+/g, ' ')}${CRLF}`
}
