import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'
import { twoLines } from '../../packages/session-pgsql-server/test/php/kit/peers.ts'
import { type Ini, Php } from '../../packages/session-pgsql-server/test/php/kit/php.ts'
import { phpMissing } from '../../packages/session-pgsql-server/test/php/kit/program.ts'
import { SliceRecorder } from '../candidate.ts'
import { withCleanup } from '../cleanup.ts'
import { type Candidate, compare, type Measurement, ratioOf } from '../compare.ts'
import { findProgram, type Redis, type RedisPersistence, startRedis } from '../programs.ts'
import { workloadText } from '../report/text.ts'
import type { RatioResult } from '../results.ts'
import { startMemoryServer, startServer } from '../server.ts'
import { randomNumbers } from '../sessions.ts'
import { COMMANDS, commandCandidate, DIGITS, fill } from './protocol.ts'

/**
 * Measures a PHP script with its sessions in files, in Redis without persistence and in one as durable as PostgreSQL, in
 * the memory of a Node.js server, and in PostgreSQL through the gateway, in turns. Then measures the servers without PHP.
 */

const HELP = `Usage:
  npm run bench:php -- [OPTION]...

Options:
  --workers N      PHP processes for each store (default: 8)
  --callers N      concurrent requests (default: 16)
  --sessions N     number of sessions (default: 2000)
  --seconds S      length of a slice (default: 1)
  --rounds N       slices of each store (default: 15)
  --connections N  connections in the measurement without PHP (default: 64)
  --help           show this help, then exit`

/** The targets relative to Redis: for requests that change nothing, also with `shortCircuit`, and that change the data. */
const UNCHANGED: Record<string, number> = { redis: 0.5, 'redis, appendfsync always': 0.65 }
const SKIPPED: Record<string, number> = { redis: 0.6, 'redis, appendfsync always': 0.75 }
const CHANGED: Record<string, number> = { redis: 0.4, 'redis, appendfsync always': 0.58 }
/** Digits of a session's id. */
const ID_LENGTH = 32
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
  await withCleanup(async (onCleanup) => {
    const postgres = await startPostgres({
      version: '18',
      settings: { max_wal_size: '8GB', checkpoint_timeout: '15min' },
    })
    onCleanup(() => postgres.remove())
    const startedRedis = async (persistence: RedisPersistence): Promise<Redis> => {
      const redis = await startRedis(persistence)
      if (redis === undefined) throw new Error('redis-server is not installed')
      onCleanup(() => redis.stop())
      return redis
    }
    const [redis, durableRedis] = [await startedRedis('no'), await startedRedis('always')]
    const memory = await startMemoryServer()
    onCleanup(() => memory.stop())
    // Each gateway has its own table, because the expiries that one writes decide what the other may skip.
    const startGateway = async (table: string, env: Record<string, string>): Promise<number> => {
      const gateway = await startServer(
        ['gateway', '--db', postgres.url('postgres'), '--table', table, '--create-unread'],
        env,
      )
      onCleanup(() => gateway.stop())
      return gateway.port
    }
    const port = await startGateway('php_session', {})
    const shortCircuit = await startGateway('php_session_short', { SESSION_PGSQL_SHORT_CIRCUIT: '1' })

    const version = execFileSync('php', ['-r', 'echo PHP_VERSION, ", phpredis ", phpversion("redis");'])
    console.log(`${cpus().length} x ${cpus()[0]?.model}; Node.js ${process.versions.node}; PHP ${version}`)
    console.log(`${workers} PHP processes, ${callers} concurrent requests, ${sessions} sessions`)
    await Promise.all(
      [port, shortCircuit, redis.port, durableRedis.port, memory.port].map((one) =>
        fill(one, sessions, ID_LENGTH),
      ),
    )
    for (const persistent of [true, false]) {
      const path = `prefix=PHPSESSID:${persistent ? '&persistent=1' : ''}`
      const inis: readonly (readonly [string, Ini])[] = [
        ['gateway', twoLines(port, path)],
        ['short circuit', twoLines(shortCircuit, path)],
        ['redis', twoLines(redis.port, path)],
        ['redis, appendfsync always', twoLines(durableRedis.port, path)],
        ['node, memory', twoLines(memory.port, path)],
        ['files', { 'session.save_handler': 'files' }],
      ]
      const phps = await Promise.all(
        inis.map(async ([name, ini]) => {
          const php = await Php.start({ ini: { ...ini, 'opcache.enable': 1 }, workers, root: SITE })
          onCleanup(() => php.stop())
          return [name, php] as const
        }),
      )
      for (const write of [false, true]) {
        const entries = phps.map(([name, php]) => ({
          candidate: requestCandidate(name, php, sessions, write),
          operation: write ? ('write' as const) : ('read' as const),
        }))
        const measurements = await compare({
          entries,
          callers,
          seconds: Number(values.seconds),
          rounds: Number(values.rounds),
          // Until every PHP process has its connection, and the code of the gateways is compiled.
          warmUp: 5,
          window: sessions,
        })
        console.log(
          workloadText(
            {
              name: `${write ? 'each request changes its session' : 'each request reads its session'}, ${persistent ? 'persistent connections' : 'a connection for each request'}`,
              description: 'PHP requests per second',
              measurements,
              ratios: [
                ...['redis', 'redis, appendfsync always'].flatMap((baseline) => [
                  ratio(measurements, 'gateway', baseline, write ? CHANGED[baseline] : UNCHANGED[baseline]),
                  ratio(measurements, 'short circuit', baseline, write ? undefined : SKIPPED[baseline]),
                ]),
                ratio(measurements, 'node, memory', 'redis'),
                ratio(measurements, 'gateway', 'node, memory'),
                ratio(measurements, 'gateway', 'files'),
              ],
            },
            false,
          ),
        )
      }
    }
    const ports = {
      gateway: port,
      redis: redis.port,
      'redis, appendfsync always': durableRedis.port,
      'node, memory': memory.port,
    }
    await withoutPhp(ports, sessions, values)
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
      candidate: commandCandidate(server, port, sessions, command),
      operation: 'read' as const,
    }))
    const measurements = await compare({
      entries,
      callers: Number(values.connections),
      seconds: Number(values.seconds),
      rounds: Number(values.rounds),
      warmUp: 2,
      window: sessions,
    })
    const description = `commands per second, ${values.connections} connections, without PHP`
    console.log(
      workloadText(
        {
          name,
          description,
          measurements,
          ratios: Object.keys(ports)
            .filter((server) => server !== 'gateway')
            .map((server) => ratio(measurements, 'gateway', server)),
        },
        false,
      ),
    )
  }
}

function ratio(
  measurements: readonly Measurement[],
  candidate: string,
  baseline: string,
  atLeast?: number,
): RatioResult {
  const named = (name: string): Measurement =>
    measurements.find((measurement) => measurement.name === name) as Measurement
  return { name: 'requests', candidate, baseline, ratio: ratioOf(named(candidate), named(baseline)), atLeast }
}

function requestCandidate(name: string, php: Php, sessions: number, write: boolean): Candidate {
  return {
    name,
    async run({ callers, milliseconds, seed }) {
      const random = randomNumbers(seed)
      const recorder = new SliceRecorder()
      const call = async (): Promise<void> => {
        for (;;) {
          const sent = performance.now()
          if (sent - recorder.start >= milliseconds) return
          const cookie = `PHPSESSID=${String(random(sessions)).padStart(ID_LENGTH, '0')}`
          const { text } = await php.request('session.php', { cookie, query: write ? { write: 1 } : {} })
          if (text === 'user ada') recorder.succeeded(sent)
          else recorder.failed(text)
        }
      }
      await Promise.all(Array.from({ length: callers }, call))
      return recorder.result()
    },
    async close() {},
  }
}

await main()
