import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'
import { twoLines } from '../../packages/session-pgsql-server/test/php/kit/peers.ts'
import { type Ini, Php } from '../../packages/session-pgsql-server/test/php/kit/php.ts'
import { phpMissing } from '../../packages/session-pgsql-server/test/php/kit/program.ts'
import { withEnds } from '../ends.ts'
import { findProgram, startRedis } from '../programs.ts'
import { type Racer, race, ratioOf, type Standing } from '../race.ts'
import { workloadText } from '../report/text.ts'
import { startServer } from '../server.ts'
import { randomNumbers } from '../sessions.ts'
import { quantile } from '../statistics.ts'
import { COMMANDS, commands, DIGITS, fill } from './protocol.ts'

/**
 * The same PHP script with its sessions in files, in a Redis that stores nothing on disk, and through the gateway
 * in a durable PostgreSQL: in turns, a slice each, so that whatever else the machine does hits all alike. Then the
 * gateway and Redis alone, without PHP.
 */

const HELP = `npm run bench:php -- [options]

  --workers N   processes of PHP, for each place (8)
  --callers N   requests at once (16)
  --sessions N  sessions in play (2000)
  --seconds S   length of a slice (1)
  --rounds N    slices of each place (15)

  --connections N  to the gateway and to Redis alone (64)`

const MARK = 0.8
/** Digits of a session's id. */
const ID = 32
const SITE = fileURLToPath(new URL('./site', import.meta.url))

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      workers: { type: 'string', default: '8' },
      callers: { type: 'string', default: '16' },
      sessions: { type: 'string', default: '2000' },
      seconds: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '15' },
      connections: { type: 'string', default: '64' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(HELP)
  const missing = phpMissing()
  if (missing !== undefined) throw new Error(missing)
  const [workers, callers, sessions] = [values.workers, values.callers, values.sessions].map(Number) as [
    number,
    number,
    number,
  ]
  await withEnds(async (atEnd) => {
    const postgres = await startPostgres({
      version: '18',
      settings: { max_wal_size: '8GB', checkpoint_timeout: '15min' },
    })
    atEnd(() => postgres.remove())
    const redis = await startRedis()
    if (redis === undefined) throw new Error('redis-server is not installed')
    atEnd(() => redis.stop())
    // A table for each: what one makes of an expiry decides what the other, with short circuit, may skip.
    const startGateway = async (table: string, env: Record<string, string>): Promise<number> => {
      const gateway = await startServer(
        ['gateway', '--db', postgres.url('postgres'), '--table', table, '--create-unread'],
        env,
      )
      atEnd(() => gateway.stop())
      return gateway.port
    }
    const port = await startGateway('php_session', {})
    const shortCircuit = await startGateway('php_session_short', { SESSION_PGSQL_SHORT_CIRCUIT: '1' })

    const version = execFileSync('php', ['-r', 'echo PHP_VERSION, ", phpredis ", phpversion("redis");'])
    console.log(`${cpus().length} x ${cpus()[0]?.model}; Node.js ${process.versions.node}; PHP ${version}`)
    console.log(`${workers} processes of PHP, ${callers} requests at once, ${sessions} sessions`)
    await Promise.all([port, shortCircuit, redis.port].map((one) => fill(one, sessions, ID)))
    for (const persistent of [true, false]) {
      const path = `prefix=PHPSESSID:${persistent ? '&persistent=1' : ''}`
      const inis: readonly (readonly [string, Ini])[] = [
        ['gateway', twoLines(port, path)],
        ['short circuit', twoLines(shortCircuit, path)],
        ['redis', twoLines(redis.port, path)],
        ['files', { 'session.save_handler': 'files' }],
      ]
      const phps = await Promise.all(
        inis.map(async ([name, ini]) => {
          const php = await Php.start({ ini: { ...ini, 'opcache.enable': 1 }, workers, root: SITE })
          atEnd(() => php.stop())
          return [name, php] as const
        }),
      )
      for (const write of [false, true]) {
        const entries = phps.map(([name, php]) => ({
          racer: requests(name, php, sessions, write),
          operation: write ? ('write' as const) : ('read' as const),
        }))
        const standings = await race({
          entries,
          callers,
          seconds: Number(values.seconds),
          rounds: Number(values.rounds),
          // Until every process of PHP has its connection, and the gateways' code is compiled.
          warmUp: 5,
          window: sessions,
        })
        console.log(
          workloadText(
            {
              name: `${write ? 'each request changes its session' : 'each request reads its session'}, ${persistent ? 'persistent connections' : 'a connection for each request'}`,
              about: 'PHP requests a second',
              standings,
              ratios: [
                ratio(standings, 'gateway', 'redis', MARK),
                ratio(standings, 'short circuit', 'redis', MARK),
                ratio(standings, 'gateway', 'files', 0),
              ],
            },
            false,
          ),
        )
      }
    }
    await withoutPhp({ gateway: port, redis: redis.port }, sessions, values)
  })
}

async function withoutPhp(
  ports: Readonly<Record<string, number>>,
  sessions: number,
  values: { readonly connections: string; readonly seconds: string; readonly rounds: string },
): Promise<void> {
  if (findProgram('redis-benchmark') === undefined) return console.log('redis-benchmark is not installed')
  await Promise.all(Object.values(ports).map((port) => fill(port, sessions, DIGITS)))
  for (const [name, command] of Object.entries(COMMANDS)) {
    const entries = Object.entries(ports).map(([server, port]) => ({
      racer: commands(server, port, sessions, command),
      operation: 'read' as const,
    }))
    const standings = await race({
      entries,
      callers: Number(values.connections),
      seconds: Number(values.seconds),
      rounds: Number(values.rounds),
      warmUp: 2,
      window: sessions,
    })
    const about = `commands a second, ${values.connections} connections, without PHP`
    console.log(
      workloadText({ name, about, standings, ratios: [ratio(standings, 'gateway', 'redis', 0)] }, false),
    )
  }
}

function ratio(standings: readonly Standing[], one: string, other: string, atLeast: number) {
  const named = (name: string): Standing => standings.find((standing) => standing.name === name) as Standing
  return { what: 'requests', one, other, ratio: ratioOf(named(one), named(other)), atLeast }
}

function requests(name: string, php: Php, sessions: number, write: boolean): Racer {
  return {
    name,
    async run({ callers, milliseconds, seed }) {
      const random = randomNumbers(seed)
      const latencies: number[] = []
      const start = performance.now()
      let failures = 0
      let firstFailure: string | undefined
      const call = async (): Promise<void> => {
        for (;;) {
          const sent = performance.now()
          if (sent - start >= milliseconds) return
          const cookie = `PHPSESSID=${String(random(sessions)).padStart(ID, '0')}`
          const { text } = await php.request('session.php', { cookie, query: write ? { write: 1 } : {} })
          if (text === 'user ada') {
            latencies.push(performance.now() - sent)
          } else {
            failures++
            firstFailure ??= text
          }
        }
      }
      await Promise.all(Array.from({ length: callers }, call))
      const sorted = Float64Array.from(latencies).sort()
      return {
        calls: latencies.length,
        failures,
        firstFailure,
        milliseconds: performance.now() - start,
        p50: quantile(sorted, 0.5),
        p99: quantile(sorted, 0.99),
      }
    },
    async close() {},
  }
}

await main()
