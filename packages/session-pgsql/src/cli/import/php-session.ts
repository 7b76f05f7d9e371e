import type { Codec } from '../../codec/codec.ts'
import { SessionPgsqlError } from '../../errors.ts'
import { PHP_ID_PATTERN } from '../../session/id.ts'
import { fieldOf, type ParsedSession, type ParseOptions } from './express-session.ts'
import type { SourceSession } from './source.ts'

/** Seconds that a session lives if the source stores no expiry; PHP's default of session.gc_maxlifetime. */
const LIFETIME = 1440

/**
 * Checks a session of PHP. Its text is stored as it is: PHP reads the same bytes that it wrote.
 *
 * @param codec decodes sessions in the site's session.serialize_handler
 * @returns undefined if its id or its data is invalid
 */
export function parsePhpSession(
  { id, text, expires }: SourceSession,
  { field }: Pick<ParseOptions, 'field'>,
  codec: Codec<Record<string, unknown>>,
): ParsedSession | undefined {
  if (!PHP_ID_PATTERN.test(id)) return undefined
  try {
    const custom = fieldOf(codec.decode(text), field)
    const lifetime = expires === undefined ? LIFETIME : Math.max(0, (expires - performance.now()) / 1000)
    return { session: { id, text, lifetime, custom }, misdated: false }
  } catch (error) {
    if (error instanceof SessionPgsqlError) return undefined
    throw error
  }
}
