import type { ServerStatistics, ServerStatus, TableStatistics } from 'session-pgsql'
import type { Advice } from './api.ts'
import type { Sample } from './history.ts'

/** Statistics of fewer updates than this say nothing. */
const ENOUGH_UPDATES = 1000

/** Bytes of the log that a standby may be behind before a person should hear of it. */
const LAG = 64 * 1024 * 1024

/** Errors within ten minutes that are many: at least so many, and to so many sessions one. */
const MANY_ERRORS = { least: 50, share: 0.01 }

const GRAVITY: readonly Advice['level'][] = ['serious', 'warning', 'info']

/** What wants attention, the gravest first; nothing if all is well. */
export function adviceOn({ servers, status }: Sample, errorsLately: number): Advice[] {
  const several = servers.length > 1
  const advice = servers.flatMap((server, index) =>
    aboutServer(server, status[index]).map((one) => (several ? { ...one, server: server.name } : one)),
  )
  const sessions = servers.reduce((sum, { table }) => sum + (table?.sessions ?? 0), 0)
  if (errorsLately >= Math.max(MANY_ERRORS.least, sessions * MANY_ERRORS.share)) {
    const about = servers.some(({ table }) => table?.exact === false) ? 'About ' : ''
    advice.push({
      level: 'warning',
      what: `${about}${number(errorsLately)} errors were recorded on sessions in the last ten minutes.`,
      todo: 'Sort the sessions by errors: each tells its last one.',
    })
  }
  return advice.sort((one, other) => GRAVITY.indexOf(one.level) - GRAVITY.indexOf(other.level))
}

function aboutServer({ table, error }: ServerStatistics, status: ServerStatus | undefined): Advice[] {
  if (table === undefined) {
    return [
      {
        level: 'serious',
        what: `This server gives no answer: ${error?.message ?? 'nobody knows why.'}`,
        todo: 'Look whether it runs and can be reached; `session-pgsql doctor` says what it finds.',
      },
    ]
  }
  const away = status?.homecoming?.waiting ?? 0
  return [
    ...(table.standby
      ? [
          {
            level: 'serious' as const,
            what: 'This is a standby: nothing can be written here.',
            todo: 'In db, name all hosts of the group: host=a,b,c target_session_attrs=read-write.',
          },
        ]
      : []),
    ...aboutStorage(table),
    ...aboutSweeping(table),
    ...aboutStandbys(table),
    ...(away > 0
      ? [
          {
            level: 'info' as const,
            what: `${number(away)} or more rows lie here that belong to other servers.`,
            todo: 'Nothing: they are brought home as long as their servers answer.',
          },
        ]
      : []),
    ...(table.integerDates
      ? [
          {
            level: yearsTo2038(table.at) < 3 ? ('serious' as const) : ('info' as const),
            what: 'Dates are stored as 32-bit integers, which end on 2038-01-19.',
            todo: '`session-pgsql doctor` prints the ALTER TABLE that widens them. It rewrites the table: plan it.',
          },
        ]
      : []),
  ]
}

function* aboutStorage({ liveRows, deadRows, updated, hotUpdated }: TableStatistics): Generator<Advice> {
  if (deadRows >= 10_000 && deadRows > liveRows) {
    yield {
      level: 'serious',
      what: `The table is mostly dead rows: ${number(deadRows)} beside ${number(liveRows)} live ones.`,
      todo: 'Look for transactions that stay open for long, and whether autovacuum runs; then VACUUM (ANALYZE) the table.',
    }
  } else if (deadRows >= 10_000 && deadRows > liveRows / 3) {
    yield {
      level: 'warning',
      what: `Autovacuum does not keep up: ${number(deadRows)} dead rows beside ${number(liveRows)} live ones.`,
      todo: 'Give autovacuum more room (autovacuum_vacuum_cost_limit), and look for transactions that stay open for long.',
    }
  }
  const share = hotUpdated / updated
  if (updated >= ENOUGH_UPDATES && share < 0.5) {
    yield {
      level: 'warning',
      what: `Only ${Math.round(share * 100)} % of the updates are made in place (HOT): each of the others writes to every index.`,
      todo: 'ALTER TABLE … SET (fillfactor = 80), and drop indexes on what changes at every access; `session-pgsql doctor` names them.',
    }
  }
}

function* aboutSweeping({ unswept, sessions, sweepIndex }: TableStatistics): Generator<Advice> {
  if (!sweepIndex) {
    yield {
      level: 'warning',
      what: 'There is no index on sess_sweep: garbage collection goes through the whole table.',
      todo: '`session-pgsql doctor` prints the CREATE INDEX CONCURRENTLY that mends it.',
    }
  }
  if (unswept >= 1000 && unswept > sessions / 10) {
    yield {
      level: 'warning',
      what: `${number(unswept)} sessions expired more than two hours ago and lie there still: garbage collection has not come by.`,
      todo: 'Run it here, then let it run by itself: gcInterval above 0, or `session-pgsql gc` by cron.',
    }
  }
}

function* aboutStandbys({ standbys }: TableStatistics): Generator<Advice> {
  for (const { name, lagBytes, state } of standbys) {
    if (lagBytes !== null && lagBytes > LAG) {
      yield {
        level: 'warning',
        what: `The standby ${name} is ${Math.round(lagBytes / 1024 / 1024)} MB behind.`,
        todo: 'Look at its disk and at the network between: what it has not got would be lost in a failover.',
      }
    } else if (state !== null && state !== 'streaming') {
      yield {
        level: 'info',
        what: `The standby ${name} is not streaming yet (${state}).`,
        todo: 'Wait until it has caught up; until then do not count on it.',
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
