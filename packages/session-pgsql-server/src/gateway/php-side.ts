import { decodePhpSession, encodePhpSession, type PhpSessionFormat, type SaveHandler } from 'session-pgsql'

/** A save handler of whatever data: a `PhpSide` knows what they are. */
// biome-ignore lint/suspicious/noExplicitAny: nobody else looks into them
export type Sessions = SaveHandler<any>

/** What PHP sends, as the data of the save handler, and back. */
export interface PhpSide {
  decode(bytes: Buffer): unknown
  encode(data: unknown): Uint8Array
}

/** For a save handler whose data are PHP's bytes (`phpBytesCodec`). */
export const BYTES: PhpSide = {
  decode: (bytes) => bytes,
  encode: (data) => data as Uint8Array,
}

/** For one whose data are PHP's values, because a Node program uses it as well. */
export function valuesOf(format: PhpSessionFormat | undefined): PhpSide {
  return {
    decode: (bytes) => decodePhpSession(bytes, format),
    encode: (data) => encodePhpSession(data as Record<string, unknown>, format),
  }
}
