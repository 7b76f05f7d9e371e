import { decodePhpSession, encodePhpSession, type PhpSessionFormat, type SaveHandler } from 'session-pgsql'

/** A save handler of any data type; only a `WireFormat` knows which. */
// biome-ignore lint/suspicious/noExplicitAny: the gateway passes the data through
export type Sessions = SaveHandler<any>

/** Converts between the bytes that PHP sends and the data of the save handler. */
export interface WireFormat {
  /** The data of a session without variables. */
  readonly empty: unknown
  /**
   * @throws UNDECODABLE or INVALID_DATA if the bytes are not a session in this format; `PHP_BYTES` leaves this check to
   * the codec
   */
  decode(bytes: Buffer): unknown
  /** @throws INVALID_DATA if PHP has no value for the data */
  encode(data: unknown): Uint8Array
}

/** For a save handler whose data is PHP's bytes (`phpBytesCodec`). */
export const PHP_BYTES: WireFormat = {
  empty: Buffer.alloc(0),
  decode: (bytes) => bytes,
  encode: (data) => data as Uint8Array,
}

/** For a save handler whose data is PHP's values, because a Node program uses it too. */
export function phpValues(format: PhpSessionFormat | undefined): WireFormat {
  return {
    empty: {},
    decode: (bytes) => decodePhpSession(bytes, format),
    encode: (data) => encodePhpSession(data as Record<string, unknown>, format),
  }
}
