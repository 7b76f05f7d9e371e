import type { StoredSession, Touch } from '../session/stored.ts'
import type { Answer } from './answers.ts'
import type { Put, Save } from './requests.ts'

/** What a session's life asks of a table: of one, or of several spread over servers. */
export interface Sessions {
  read(id: string, deadline: number): Promise<StoredSession | undefined>
  save(order: Save, deadline: number): Promise<Answer>
  put(order: Put, deadline: number): Promise<Answer>
  touch(order: Touch, deadline: number): Promise<Answer>
  destroy(id: string, deadline: number): Promise<Answer>
  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer>
  /** Resolves when all that was committed before where this session lies has reached its synchronous standby, if there is one. */
  replicated(id: string, deadline: number): Promise<void>
}
