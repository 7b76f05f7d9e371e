import { type Placed, rank } from '../servers/placement.ts'
import type { Server } from '../servers/server.ts'
import { weightOf } from '../servers/servers.ts'
import type { Context } from './command.ts'

/** A server of `db` with the weight that places sessions on it. */
export interface PlacedServer extends Placed {
  readonly server: Server
}

/** Returns every server of `db` with its weight, in the order of `db`. */
export function placedServers({ servers, settings }: Context): PlacedServer[] {
  return servers.map((server, index) => {
    const entry = settings.db[index]
    return { name: server.name, weight: entry === undefined ? 1 : weightOf(entry), server }
  })
}

/** Returns the home server of a session among these servers. @param id in its stored form; placed: at least one server */
export function homeOf(id: string, placed: readonly PlacedServer[], failoverMode: boolean): Server {
  const [home] = failoverMode ? placed : rank(id, placed)
  return (home as PlacedServer).server
}
