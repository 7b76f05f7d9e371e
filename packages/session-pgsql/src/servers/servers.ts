import { SessionPgsqlError } from '../errors.ts'
import type { Server } from './server.ts'

/** Every server of `db`, and which of them a session lies on. */
export class Servers {
  readonly all: readonly Server[]

  /** @param all at least one */
  constructor(all: readonly Server[]) {
    // Sessions are not spread yet; to leave the others unused would be worse than to say so.
    if (all.length > 1) {
      throw new SessionPgsqlError(
        'INVALID_OPTION',
        `option db: expected one entry, got ${all.length}. Spreading sessions over several servers is not served yet; the hosts of one replicated group go into one entry: host=a,b,c target_session_attrs=read-write`,
      )
    }
    this.all = all
  }

  /** The server on which a session of this id lies. */
  homeOf(_id: string): Server {
    return this.all[0] as Server
  }

  /** What has to be waited for before the clock of an operation begins to run; nothing, as a rule. */
  get starting(): Promise<unknown> | undefined {
    // Asked for by every operation: nothing is allocated as a rule.
    const starting = this.all.some((server) => server.starting !== undefined)
    return starting ? Promise.all(this.all.map((server) => server.starting)) : undefined
  }

  async reset(): Promise<void> {
    await Promise.all(this.all.map((server) => server.reset()))
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((server) => server.close()))
  }
}
