import { type Candidate, compare, type Entry, type Measurement, ratioOf, startCandidate } from './compare.ts'
import type { BenchContext } from './context.ts'
import { appCandidates } from './http/candidates.ts'
import { pgbench } from './programs.ts'
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

/** The throughput of a candidate relative to its fastest baseline. Without `atLeast` it has no verdict. */
interface Target {
  readonly name: string
  readonly candidate: string
  readonly baselines: readonly string[]
  readonly atLeast?: number
}

type CandidateName = keyof typeof CANDIDATES

const OURS = 'session-pgsql'
const CONNECT_PG_SIMPLE = ['connect-pg-simple', 'connect-pg-simple, prepared'] as const
const REDIS = 'connect-redis'
const MEMORY = 'MemoryStore'
const PGBENCH = 'pgbench, 8 clients'
const NODE_POSTGRES = 'node-postgres alone'
const HASHED = 'session-pgsql, hashed ids'
const BOTH_FORMS = 'session-pgsql, both forms'
const STORES = [...CONNECT_PG_SIMPLE, REDIS, MEMORY] as const

const CANDIDATES = {
  [OURS]: (context: BenchContext) => process(context, OURS, 'session-pgsql'),
  [CONNECT_PG_SIMPLE[0]]: (context: BenchContext) =>
    process(context, CONNECT_PG_SIMPLE[0], 'connect-pg-simple'),
  [CONNECT_PG_SIMPLE[1]]: (context: BenchContext) =>
    process(context, CONNECT_PG_SIMPLE[1], 'connect-pg-simple', { prepared: true }),
  [REDIS]: async (context: BenchContext) =>
    context.redis === undefined ? undefined : process(context, REDIS, 'connect-redis'),
  [MEMORY]: (context: BenchContext) => process(context, MEMORY, 'memory-store'),
  [PGBENCH]: async ({ storeOptions }: BenchContext) =>
    pgbench(storeOptions.connection, storeOptions.sessions),
  [NODE_POSTGRES]: (context: BenchContext) => process(context, NODE_POSTGRES, 'node-postgres'),
  [HASHED]: (context: BenchContext) => withHashedIds(context, HASHED, 'hashed'),
  [BOTH_FORMS]: (context: BenchContext) => withHashedIds(context, BOTH_FORMS, 'migrate'),
} as const

async function withHashedIds(
  context: BenchContext,
  name: string,
  ids: 'migrate' | 'hashed',
): Promise<Candidate> {
  const { database, storeOptions } = context
  const { sessions, bytes } = storeOptions
  const table = `session_${ids}`
  await database.query(`DROP TABLE IF EXISTS ${table}`)
  await database.fillSessions({ sessions, bytes, table, ids: 'hashed' })
  return process(context, name, 'session-pgsql', { ids, table })
}

function process(
  { storeOptions, parameters }: BenchContext,
  name: string,
  file: string,
  own?: Record<string, unknown>,
): Promise<Candidate> {
  return startCandidate(
    name,
    file,
    own === undefined ? storeOptions : { ...storeOptions, own },
    parameters.processes,
  )
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
      { name: 'read', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 6 },
      { name: 'read', candidate: OURS, baselines: [CONNECT_PG_SIMPLE[0]] },
      { name: 'read', candidate: OURS, baselines: [REDIS], atLeast: 1.2 },
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
      { name: 'write with a base', candidate: `${OURS}, with a base`, baselines: [REDIS], atLeast: 0.6 },
      { name: 'write without a base', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 5 },
      { name: 'write without a base', candidate: OURS, baselines: [CONNECT_PG_SIMPLE[0]] },
      { name: 'write without a base', candidate: OURS, baselines: [REDIS], atLeast: 0.75 },
    ],
  },
  {
    name: 'touch',
    description: 'touches of random sessions',
    window: 10_000,
    entries: all('touch'),
    targets: [
      { name: 'touch', candidate: OURS, baselines: CONNECT_PG_SIMPLE, atLeast: 6 },
      { name: 'touch', candidate: OURS, baselines: [CONNECT_PG_SIMPLE[0]] },
      { name: 'touch', candidate: OURS, baselines: [REDIS], atLeast: 0.9 },
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
          name: operation === 'read' ? 'read, one caller' : 'write with a base, one caller',
          candidate: OURS,
          baselines: [NODE_POSTGRES],
          atLeast: 0.95,
        },
      ],
    }),
  ),
]

/** The cost of hashed ids, and of looking for both forms of them. */
const HASHED_IDS: readonly Workload[] = (['read', 'writeBased'] as const).map((operation) => ({
  name: operation === 'read' ? 'ids-read' : 'ids-write',
  description: `${operation === 'read' ? 'reads' : 'writes with a base'}, by the form in which ids are stored`,
  window: 10_000,
  entries: ([OURS, HASHED, BOTH_FORMS] as const).map((candidate) => ({ candidate, operation })),
  targets: [
    { name: `${operation}, hashed ids`, candidate: HASHED, baselines: [OURS], atLeast: 0.93 },
    { name: `${operation}, both forms`, candidate: BOTH_FORMS, baselines: [OURS] },
  ],
}))

export async function runWorkload(workload: Workload, context: BenchContext): Promise<WorkloadResult> {
  const candidates = new Map<CandidateName, Candidate>()
  try {
    for (const { candidate: name } of workload.entries) {
      if (candidates.has(name)) continue
      const candidate = await CANDIDATES[name](context)
      if (candidate === undefined) context.log(`${name}: not installed, skipped`)
      else candidates.set(name, candidate)
    }
    const entries = workload.entries.flatMap(({ candidate: name, operation, name: label }): Entry[] => {
      const candidate = candidates.get(name)
      return candidate === undefined ? [] : [{ candidate, operation, name: label ?? name }]
    })
    return await runComparison(workload, entries, context)
  } finally {
    for (const candidate of candidates.values()) await candidate.close()
  }
}

async function runComparison(
  { name, description, callers, window, targets }: Omit<Workload, 'entries'>,
  entries: readonly Entry[],
  { parameters }: BenchContext,
): Promise<WorkloadResult> {
  const { seconds, rounds, short } = parameters
  const measurements = await compare({
    entries,
    callers: callers ?? parameters.callers,
    seconds,
    rounds,
    warmUp: short ? 0 : 2,
    window,
  })
  return {
    name,
    description,
    measurements,
    ratios: targets.flatMap((target) => ratioResults(target, measurements)),
  }
}

/** Compares with the fastest of the baselines, so that the best configuration of a store counts. */
function ratioResults(
  { name, candidate, baselines, atLeast }: Target,
  measurements: readonly Measurement[],
): RatioResult[] {
  const measured = measurements.find((measurement) => measurement.name === candidate)
  const [fastest] = measurements
    .filter((measurement) => baselines.includes(measurement.name))
    .sort((a, b) => b.rate.median - a.rate.median)
  if (measured === undefined || fastest === undefined) return []
  return [{ name, candidate, baseline: fastest.name, ratio: ratioOf(measured, fastest), atLeast }]
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

export async function runHttp(context: BenchContext): Promise<WorkloadResult> {
  await context.database.distributeExpiries()
  const candidates = await appCandidates(context, {
    ours: OURS,
    simple: CONNECT_PG_SIMPLE[0],
    memory: MEMORY,
  })
  try {
    const entries = candidates.map((candidate): Entry => ({ candidate, operation: 'read' }))
    return await runComparison(HTTP, entries, context)
  } finally {
    for (const candidate of candidates) await candidate.close()
  }
}

/** Every workload, in the order in which they run. */
export const ALL_WORKLOADS: readonly {
  name: string
  description: string
  run(context: BenchContext): Promise<WorkloadResult>
}[] = [
  ...[...WORKLOADS, ...HASHED_IDS].map((workload) => ({
    name: workload.name,
    description: workload.description,
    run: (context: BenchContext) => runWorkload(workload, context),
  })),
  { name: HTTP.name, description: HTTP.description, run: runHttp },
]
