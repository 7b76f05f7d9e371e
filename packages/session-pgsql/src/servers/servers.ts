import type { Server } from './server.ts'

/** Every server of `db`, and which of them a session lies on. */
export class Servers {
  readonly all: readonly Server[]

  /** @param all at least one */
  constructor(all: readonly Server[]) {
    this.all = all
  }

  /** The server on which a session of this id lies. */
  homeOf(_id: string): Server {
    return this.all[0] as Server
  }

  async reset(): Promise<void> {
    await Promise.all(this.all.map((server) => server.reset()))
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((server) => server.close()))
  }
}
