import { type Candidate, compare, type Entry, type Measurement, ratioOf, startCandidate } from './compare.ts'
import type { BenchContext } from './context.ts'
import { appCandidates } from './http/candidates.ts'
import { pgbench, type RedisPersistence } from './programs.ts'
import type { RatioResult, WorkloadResult } from './results.ts'
import type { Operation } from './stores/store.ts'

/** A throughput measurement: its candidates and its targets. */
export interface Workload {
  readonly name: string
  readonly description: string
  /** Default: `--callers`. */
  readonly callers?: number
  /** Number of sessions in use during one slice. */
  readonly window: number
  /** The candidates and their operations. `name` distinguishes two operations of one candidate. */
  readonly entries: readonly {
    readonly candidate: CandidateName
    readonly operation: Operation
    readonly name?: string
  }[]
  readonly targets: readonly Target[]
}

/** The throughput of a candidate relative to its fastest baseline. */
interface Target {
  readonly name: string
  readonly candidate: string
  readonly baselines: readonly string[]
  /** The target with any number of callers, or by the number of callers. Otherwise there is no verdict. */
  readonly atLeast?: number | Readonly<Record<number, number>>
}

type CandidateName = keyof typeof CANDIDATES

const OURS = 'session-pgsql'
const OURS_DURABLE = 'session-pgsql, durable touches'
const CONNECT_PG_SIMPLE = ['connect-pg-simple', 'connect-pg-simple, prepared'] as const
/** connect-redis, by what its Redis writes to disk. `always` is as durable as PostgreSQL. */
const REDIS = {
  no: 'connect-redis, appendonly no',
  everysec: 'connect-redis, appendfsync everysec',
  always: 'connect-redis, appendfsync always',
} as const
const MEMORY = 'MemoryStore'
const PGBENCH = 'pgbench, 8 clients'
const NODE_POSTGRES = 'node-postgres alone'
const HASHED = 'session-pgsql, hashed ids'
const BOTH_FORMS = 'session-pgsql, both forms'
const STORES = [...CONNECT_PG_SIMPLE, ...Object.values(REDIS), MEMORY] as const

const CANDIDATES = {
  [OURS]: start(OURS, 'session-pgsql'),
  [OURS_DURABLE]: start(OURS_DURABLE, 'session-pgsql', { durableTouches: true }),
  [CONNECT_PG_SIMPLE[0]]: start(CONNECT_PG_SIMPLE[0], 'connect-pg-simple'),
  [CONNECT_PG_SIMPLE[1]]: start(CONNECT_PG_SIMPLE[1], 'connect-pg-simple', { prepared: true }),
  [REDIS.no]: redis('no'),
  [REDIS.everysec]: redis('everysec'),
  [REDIS.always]: redis('always'),
  [MEMORY]: start(MEMORY, 'memory-store'),
  [PGBENCH]: async ({ storeOptions }: BenchContext) =>
    pgbench(storeOptions.connection, storeOptions.sessions),
  [NODE_POSTGRES]: start(NODE_POSTGRES, 'node-postgres'),
  [HASHED]: withHashedIds(HASHED, 'hashed'),
  [BOTH_FORMS]: withHashedIds(BOTH_FORMS, 'migrate'),
} as const

type StartCandidate = (context: BenchContext, processes: number) => Promise<Candidate | undefined>

function start(name: string, file: string, own?: Record<string, unknown>): StartCandidate {
  return ({ storeOptions }, processes) =>
    startCandidate(name, file, own === undefined ? storeOptions : { ...storeOptions, own }, processes)
}

/** Fills a table of its own with hashed ids. */
function withHashedIds(name: string, ids: 'migrate' | 'hashed'): StartCandidate {
  const table = `session_${ids}`
  return async (context, processes) => {
    const { sessions, bytes } = context.storeOptions
    await context.database.query(`DROP TABLE IF EXISTS ${table}`)
    await context.database.fillSessions({ sessions, bytes, table, ids: 'hashed' })
    return start(name, 'session-pgsql', { ids, table })(context, processes)
  }
}

/** Not started if redis-server is not installed. */
function redis(persistence: RedisPersistence): StartCandidate {
  return async (context, processes) => {
    const server = context.redis.get(persistence)
    return server && start(REDIS[persistence], 'connect-redis', { port: server.port })(context, processes)
  }
}

const all = (operation: Operation): Workload['entries'] =>
  [OURS, ...STORES].map((candidate) => ({ candidate: candidate as CandidateName, operation }))

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'read',
    description: 'reads of random sessions',
    window: Number.POSITIVE_INFINITY,
    entries: [...all('read'), { candidate: PGBENCH, operation: 'read' }],
    targets: [
      { name: 'read', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 6.5 },
      { name: 'read', candidate: OURS, baselines: [CONNECT_PG_SIMPLE[0]] },
      { name: 'read', candidate: OURS, baselines: [REDIS.always], atLeast: { 64: 1.5, 256: 2 } },
      { name: 'read', candidate: OURS, baselines: [REDIS.everysec] },
      { name: 'read', candidate: OURS, baselines: [REDIS.no], atLeast: { 64: 1.5 } },
      { name: 'read', candidate: OURS, baselines: [PGBENCH], atLeast: 1.8 },
    ],
  },
  {
    name: 'write',
    description: 'writes of random sessions, with new data',
    window: 10_000,
    entries: [{ candidate: OURS, operation: 'writeBased', name: `${OURS}, with a base` }, ...all('write')],
    targets: [
      {
        name: 'write with a base',
        candidate: `${OURS}, with a base`,
        baselines: CONNECT_PG_SIMPLE,
        atLeast: 4,
      },
      { name: 'write with a base', candidate: `${OURS}, with a base`, baselines: [CONNECT_PG_SIMPLE[0]] },
      { name: 'write with a base', candidate: `${OURS}, with a base`, baselines: [REDIS.always] },
      { name: 'write with a base', candidate: `${OURS}, with a base`, baselines: [REDIS.no] },
      { name: 'write without a base', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 6.5 },
      { name: 'write without a base', candidate: OURS, baselines: [CONNECT_PG_SIMPLE[0]] },
      {
        name: 'write without a base',
        candidate: OURS,
        baselines: [REDIS.always],
        atLeast: { 64: 1.2, 256: 2 },
      },
      { name: 'write without a base', candidate: OURS, baselines: [REDIS.everysec] },
      { name: 'write without a base', candidate: OURS, baselines: [REDIS.no], atLeast: { 64: 0.9 } },
    ],
  },
  {
    name: 'touch',
    description: 'touches of random sessions',
    window: 10_000,
    entries: [...all('touch'), { candidate: OURS_DURABLE, operation: 'touch' }],
    targets: [
      { name: 'touch', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 8 },
      { name: 'touch', candidate: OURS, baselines: [OURS_DURABLE] },
      { name: 'touch', candidate: OURS, baselines: [CONNECT_PG_SIMPLE[0]] },
      { name: 'touch', candidate: OURS, baselines: [REDIS.always], atLeast: { 64: 1.7, 256: 2 } },
      { name: 'touch, durable', candidate: OURS_DURABLE, baselines: [REDIS.always] },
      { name: 'touch', candidate: OURS, baselines: [REDIS.everysec] },
      { name: 'touch', candidate: OURS, baselines: [REDIS.no], atLeast: { 64: 1.2 } },
    ],
  },
  ...(['read', 'writeBased'] as const).map(
    (operation): Workload => ({
      name: operation === 'read' ? 'read-alone' : 'write-alone',
      description: 'one caller, compared with the same statement as a prepared statement of node-postgres',
      callers: 1,
      window: 200,
      entries: [
        { candidate: OURS, operation },
        { candidate: NODE_POSTGRES, operation },
      ],
      targets: [
        {
          name: `${nameOf(operation)}, one caller`,
          candidate: OURS,
          baselines: [NODE_POSTGRES],
          atLeast: 0.95,
        },
      ],
    }),
  ),
]

function nameOf(operation: 'read' | 'writeBased'): string {
  return operation === 'read' ? 'read' : 'write with a base'
}

/** The cost of hashed ids, and of looking for both forms of them. */
const HASHED_IDS: readonly Workload[] = (['read', 'writeBased'] as const).map((operation) => ({
  name: operation === 'read' ? 'ids-read' : 'ids-write',
  description: `${nameOf(operation)}, by the form in which ids are stored`,
  window: 10_000,
  entries: ([OURS, HASHED, BOTH_FORMS] as const).map((candidate) => ({ candidate, operation })),
  targets: [
    { name: `${nameOf(operation)}, hashed ids`, candidate: HASHED, baselines: [OURS], atLeast: 0.93 },
    { name: `${nameOf(operation)}, both forms`, candidate: BOTH_FORMS, baselines: [OURS] },
  ],
}))

/** Runs a workload with each number of callers and processes of the parameters. */
export async function runWorkload(workload: Workload, context: BenchContext): Promise<WorkloadResult[]> {
  const results: WorkloadResult[] = []
  for (const processes of workload.callers === undefined ? context.parameters.processCounts : [1]) {
    const candidates = new Map<CandidateName, Candidate>()
    try {
      for (const { candidate: name } of workload.entries) {
        if (candidates.has(name)) continue
        const candidate = await CANDIDATES[name](context, processes)
        if (candidate === undefined) context.log(`${name}: not installed, skipped`)
        else candidates.set(name, candidate)
      }
      const entries = workload.entries.flatMap(({ candidate: name, operation, name: label }): Entry[] => {
        const candidate = candidates.get(name)
        return candidate === undefined ? [] : [{ candidate, operation, name: label ?? name }]
      })
      results.push(...(await runComparisons(workload, entries, context, processes)))
    } finally {
      for (const candidate of candidates.values()) await candidate.close()
    }
  }
  return results
}

async function runComparisons(
  { name, description, callers, window, targets }: Omit<Workload, 'entries'>,
  entries: readonly Entry[],
  { parameters }: BenchContext,
  processes = 1,
): Promise<WorkloadResult[]> {
  const { seconds, rounds, short } = parameters
  const results: WorkloadResult[] = []
  for (const number of callers === undefined ? parameters.callerCounts : [callers]) {
    if (number < processes) continue
    const measurements = await compare({
      ...{ entries, callers: number, seconds, rounds, window },
      warmUp: short ? 0 : 2,
    })
    const also = [
      callers === undefined && parameters.callerCounts.length > 1 ? `, ${number} callers` : '',
      processes > 1 ? `, ${processes} processes` : '',
    ].join('')
    results.push({
      name: `${name}${also}`,
      description,
      measurements,
      ratios: targets.flatMap((target) => ratioResults(target, also, number, measurements)),
    })
  }
  return results
}

/** Compares with the fastest of the baselines, so that the best configuration of a store counts. */
function ratioResults(
  { name, candidate, baselines, atLeast }: Target,
  also: string,
  callers: number,
  measurements: readonly Measurement[],
): RatioResult[] {
  const measured = measurements.find((measurement) => measurement.name === candidate)
  const [fastest] = measurements
    .filter((measurement) => baselines.includes(measurement.name))
    .sort((a, b) => b.rate.median - a.rate.median)
  if (measured === undefined || fastest === undefined) return []
  return [
    {
      name: `${name}${also}`,
      candidate,
      baseline: fastest.name,
      ratio: ratioOf(measured, fastest),
      atLeast: typeof atLeast === 'object' ? atLeast[callers] : atLeast,
    },
  ]
}

/** HTTP requests to an application. The candidates are applications; another process sends the requests. */
const HTTP: Omit<Workload, 'entries'> = {
  name: 'http',
  description: 'an Express application, each request reads a session and touches it',
  window: Number.POSITIVE_INFINITY,
  targets: [
    { name: 'HTTP requests', candidate: OURS, baselines: [MEMORY], atLeast: 0.9 },
    { name: 'HTTP requests', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 1.5 },
  ],
}

export async function runHttp(context: BenchContext): Promise<WorkloadResult[]> {
  await context.database.distributeExpiries()
  const candidates = await appCandidates(context, {
    ours: OURS,
    simple: CONNECT_PG_SIMPLE[0],
    memory: MEMORY,
  })
  try {
    const entries = candidates.map((candidate): Entry => ({ candidate, operation: 'read' }))
    return await runComparisons(HTTP, entries, context)
  } finally {
    for (const candidate of candidates) await candidate.close()
  }
}

/** Every workload, in the order in which they run. */
export const ALL_WORKLOADS: readonly {
  name: string
  description: string
  run(context: BenchContext): Promise<WorkloadResult[]>
}[] = [
  ...[...WORKLOADS, ...HASHED_IDS].map((workload) => ({
    name: workload.name,
    description: workload.description,
    run: (context: BenchContext) => runWorkload(workload, context),
  })),
  { name: HTTP.name, description: HTTP.description, run: runHttp },
]
