import type { Destroy } from '../session/ended.ts'
import type { StoredSession, Touch } from '../session/stored.ts'
import type { Answer } from './answers.ts'
import type { Put, Save } from './requests.ts'

/**
 * Sessions stored in one table, or sharded over the tables of several servers. Deadlines are in milliseconds of
 * `performance.now()`.
 */
export interface StoredSessions {
  /**
   * Returns the session, or undefined if it does not exist or has expired.
   *
   * @param known the session as the caller has it: a fallback server that lacks the session answers with it
   */
  read(id: string, deadline: number, known?: StoredSession): Promise<StoredSession | undefined>
  /** Writes a session that must exist. Resolves to `updated`, `conflict` or `gone`. */
  save(request: Save, deadline: number): Promise<Answer>
  /** Writes a session that may be absent, or must be. Resolves to `created`, `updated` or `conflict`. */
  put(request: Put, deadline: number): Promise<Answer>
  /** Moves the expiry. Resolves to `touched` with the new expiry, or to `gone`. */
  touch(request: Touch, deadline: number): Promise<Answer>
  /** Deletes a session. Resolves to `destroyed`, or to `gone` if there was none that had not expired. */
  destroy(request: Destroy, deadline: number): Promise<Answer>
  /**
   * Reads a session and writes the result of `decide` while it holds the row lock, for a request that lost too many
   * compare-and-swaps. `decide` is not called if the session does not exist, and returns undefined if the row is not
   * the session that it expects. Resolves to `updated` or `gone`.
   *
   * @param known the session as the caller has it: a fallback server that lacks the session continues with it
   */
  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
    known?: StoredSession,
  ): Promise<Answer>
  /** Resolves when the synchronous standby of this session's server, if any, has all earlier commits. */
  replicated(id: string, deadline: number): Promise<void>
}
