import type { SessionInfo, SessionRecord } from 'session-pgsql'
import type { Key } from './key.ts'
import { CommandError } from './replies.ts'
import type { Shared } from './visitor.ts'

/**
 * Sessions as the client of a key sees them: those that were created under another name do not exist for it, as in Redis,
 * where the prefix is a part of the key. In the table it is not, and an id is in use once.
 */

/** Returns the session of a key; undefined also if it has another name. */
export async function readOwned(
  { sessions, keys }: Shared,
  key: Key,
): Promise<SessionRecord<unknown> | undefined> {
  const record = await sessions.read(key.id)
  return record !== undefined && keys.owns(key, record) ? record : undefined
}

/** Returns the session of a key without its data; undefined also if it has another name. */
export async function ownedInfo({ sessions, keys }: Shared, key: Key): Promise<SessionInfo | undefined> {
  const info = await sessions.info(key.id)
  return info !== undefined && keys.owns(key, info) ? info : undefined
}

/** Returns true if there is a session of this key. @throws CommandError if it has another name */
export async function demandOwned({ sessions, keys }: Shared, key: Key): Promise<boolean> {
  const info = await sessions.info(key.id)
  if (info !== undefined) checkOwned(keys, key, info)
  return info !== undefined
}

/** @throws CommandError if the session has another name than the key */
export function checkOwned(keys: Shared['keys'], key: Key, session: { readonly name: string | null }): void {
  if (keys.owns(key, session)) return
  throw new CommandError(
    'ERR OTHER_NAME The id is in use for a session that was created with another prefix. Give each site a table of its own, or set session.use_strict_mode = 1',
  )
}
