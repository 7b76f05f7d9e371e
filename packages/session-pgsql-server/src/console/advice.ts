import type { ServerStatistics, ServerStatus, TableStatistics } from 'session-pgsql'
import type { Advice } from './api.ts'
import type { Sample } from './history.ts'

/** The ratio of HOT updates means little below this number of updates. */
const MIN_UPDATES = 1000

/** Bytes of WAL that a standby may lag behind without a warning. */
const MAX_LAG = 64 * 1024 * 1024

/** Many errors within ten minutes: at least `least`, and at least `share` of the number of sessions. */
const MANY_ERRORS = { least: 50, share: 0.01 }

const SEVERITIES: readonly Advice['level'][] = ['critical', 'warning', 'info']

/**
 * Returns the issues that need attention, the most severe first.
 *
 * @param recentErrors the number of errors in the last ten minutes
 */
export function adviceOn({ servers, status }: Sample, recentErrors: number): Advice[] {
  const several = servers.length > 1
  const advice = servers.flatMap((server, index) =>
    aboutServer(server, status[index]).map((one) => (several ? { ...one, server: server.name } : one)),
  )
  const sessions = servers.reduce((sum, { table }) => sum + (table?.sessions ?? 0), 0)
  if (recentErrors >= Math.max(MANY_ERRORS.least, sessions * MANY_ERRORS.share)) {
    const about = servers.some(({ table }) => table?.exact === false) ? 'About ' : ''
    advice.push({
      level: 'warning',
      message: `${about}${number(recentErrors)} errors were recorded on sessions in the last ten minutes.`,
      action: 'Sort the sessions by errors. Each session shows its last error message.',
    })
  }
  return advice.sort((a, b) => SEVERITIES.indexOf(a.level) - SEVERITIES.indexOf(b.level))
}

function aboutServer({ table, error }: ServerStatistics, status: ServerStatus | undefined): Advice[] {
  if (table === undefined) {
    return [
      {
        level: 'critical',
        message: `This server is not responding: ${error?.message ?? 'unknown error.'}`,
        action: 'Check that it is running and reachable. `session-pgsql doctor` reports what it finds.',
      },
    ]
  }
  const pendingFailback = status?.homecoming?.waiting ?? 0
  return [
    ...(table.standby
      ? [
          {
            level: 'critical' as const,
            message: 'This server is a standby and accepts no writes.',
            action: 'List all hosts of the group in db: host=a,b,c target_session_attrs=read-write.',
          },
        ]
      : []),
    ...aboutStorage(table),
    ...aboutGc(table),
    ...aboutStandbys(table),
    ...(pendingFailback > 0
      ? [
          {
            level: 'info' as const,
            message: `At least ${number(pendingFailback)} rows on this server wait for failback to their home servers.`,
            action: 'No action is needed. The rows move back while their home servers are reachable.',
          },
        ]
      : []),
    ...(table.integerDates
      ? [
          {
            level: yearsTo2038(table.at) < 3 ? ('critical' as const) : ('info' as const),
            message: 'Dates are stored as 32-bit integers, which overflow on 2038-01-19.',
            action:
              '`session-pgsql doctor` prints the ALTER TABLE that widens the columns. It rewrites the table, so schedule it.',
          },
        ]
      : []),
  ]
}

function* aboutStorage({ liveRows, deadRows, updated, hotUpdated }: TableStatistics): Generator<Advice> {
  if (deadRows >= 10_000 && deadRows > liveRows) {
    yield {
      level: 'critical',
      message: `The table has more dead rows than live rows: ${number(deadRows)} dead, ${number(liveRows)} live.`,
      action:
        'Look for long-running transactions and check that autovacuum runs. Then run VACUUM (ANALYZE) on the table.',
    }
  } else if (deadRows >= 10_000 && deadRows > liveRows / 3) {
    yield {
      level: 'warning',
      message: `Autovacuum does not keep up: ${number(deadRows)} dead rows, ${number(liveRows)} live rows.`,
      action: 'Raise autovacuum_vacuum_cost_limit and look for long-running transactions.',
    }
  }
  const share = hotUpdated / updated
  if (updated >= MIN_UPDATES && share < 0.5) {
    yield {
      level: 'warning',
      message: `Only ${Math.round(share * 100)}% of the updates are HOT. Each of the other updates writes to every index.`,
      action:
        'Run ALTER TABLE … SET (fillfactor = 80), and drop indexes on columns that change on every access. `session-pgsql doctor` lists them.',
    }
  }
}

function* aboutGc({ unswept, sessions, sweepIndex }: TableStatistics): Generator<Advice> {
  if (!sweepIndex) {
    yield {
      level: 'warning',
      message: 'The table has no index on sess_sweep, so garbage collection scans the whole table.',
      action: '`session-pgsql doctor` prints the CREATE INDEX CONCURRENTLY that adds it.',
    }
  }
  if (unswept >= 1000 && unswept > sessions / 10) {
    yield {
      level: 'warning',
      message: `${number(unswept)} sessions expired more than two hours ago and have not been collected.`,
      action:
        'Run GC on this page. Then schedule it: set gcInterval above 0, or run `session-pgsql gc` from cron.',
    }
  }
}

function* aboutStandbys({ standbys }: TableStatistics): Generator<Advice> {
  for (const { name, lagBytes, state } of standbys) {
    if (lagBytes !== null && lagBytes > MAX_LAG) {
      yield {
        level: 'warning',
        message: `The standby ${name} lags ${Math.round(lagBytes / 1024 / 1024)} MB behind.`,
        action: 'Check its disk and the network. A failover would lose the changes that it has not received.',
      }
    } else if (state !== null && state !== 'streaming') {
      yield {
        level: 'info',
        message: `The standby ${name} is not streaming yet (state: ${state}).`,
        action: 'Wait until it has caught up. Do not fail over to it until then.',
      }
    }
  }
}

function yearsTo2038(at: Date): number {
  return (2 ** 31 * 1000 - at.getTime()) / (365.25 * 86_400_000)
}

function number(value: number): string {
  return value.toLocaleString('en')
}
