import type { ServerStatistics, ServerStatus, TableStatistics } from 'session-pgsql'
import { adviceOn } from './advice.ts'
import type { Amount, GcRun, Overview, ServerOverview } from './api.ts'
import type { Sample } from './history.ts'

/** When the console started to sample, and when it had its first sample, in milliseconds since 1970. */
export interface Startup {
  readonly begun: number
  readonly sampled: number
}

/** Builds the overview from a sample. If no server responded, it has only the servers and their errors. */
export function overviewOf(
  sample: Sample,
  startup: Startup,
  gc: readonly GcRun[],
  recentErrors: number,
): Overview {
  const { at, servers, status } = sample
  const tables = servers.flatMap(({ table }) => (table === undefined ? [] : [table]))
  return {
    at: at.toISOString(),
    ...(tables.length === 0 ? {} : { sessions: sum(tables, ({ sessions }) => sessions) }),
    expiring: Array.from({ length: tables.length === 0 ? 0 : 24 }, (_, hour) => ({
      until: new Date(at.getTime() + (hour + 1) * 3_600_000).toISOString(),
      sessions: sum(tables, ({ expiring }) => expiring[hour] ?? 0),
    })),
    servers: servers.map((server, index) => serverOf(server, status[index] as ServerStatus, startup)),
    advice: adviceOn(sample, recentErrors),
    gc,
  }
}

/** Adds up a number of all tables. The sum is exact if all tables are. */
export function sum(tables: readonly TableStatistics[], of: (table: TableStatistics) => number): Amount {
  return {
    value: tables.reduce((total, table) => total + of(table), 0),
    exact: tables.every(({ exact }) => exact),
  }
}

function serverOf(
  { name, table, error }: ServerStatistics,
  status: ServerStatus,
  { begun, sampled }: Startup,
): ServerOverview {
  const { address, role, since, share, lastError, homecoming } = status
  const common = {
    name,
    ...(address === undefined ? {} : { address }),
    role: table === undefined ? role : table.standby ? 'standby' : 'primary',
    since: since.toISOString(),
    sinceStart: since.getTime() >= begun && since.getTime() <= sampled,
    share,
    ...(homecoming === undefined ? {} : { pendingFailback: homecoming.waiting }),
  } as const
  if (table === undefined) {
    // A timeout with a SQLSTATE comes from PostgreSQL itself, so the server is up.
    const down = error?.code === 'SERVER_DOWN' || (error?.code === 'TIMEOUT' && error.sqlState === undefined)
    return { ...common, health: down ? 'down' : 'up', lastError: error?.message ?? lastError ?? 'unknown' }
  }
  const { exact, sessions, tableBytes, indexBytes, deadRows, updated, hotUpdated, lastVacuum, standbys } =
    table
  return {
    ...common,
    health: 'up',
    sessions: { value: sessions, exact },
    tableBytes,
    indexBytes,
    deadRows,
    hotShare: updated === 0 ? null : hotUpdated / updated,
    lastVacuum: lastVacuum?.toISOString() ?? null,
    standbys: standbys.map(({ state, ...standby }) => ({
      ...standby,
      state: state ?? 'not visible to this user',
    })),
    version: table.version,
  }
}
