import type { Operation } from './contestants/contestant.ts'
import { appRacers } from './http/racers.ts'
import { pgbench } from './programs.ts'
import { type Entry, type Racer, race, ratioOf, type Standing, startRacer } from './race.ts'
import type { RatioResult, WorkloadResult } from './results.ts'
import type { Setting } from './setting.ts'

/** What is raced, who runs, and what is expected of it. */
export interface Workload {
  readonly name: string
  readonly about: string
  /** Default: `--callers`. */
  readonly callers?: number
  /** Sessions in play during one slice. */
  readonly window: number
  /** Who runs, and what each does; `name` where one does two things. */
  readonly field: readonly {
    readonly racer: RacerName
    readonly operation: Operation
    readonly name?: string
  }[]
  readonly metadata: readonly Mark[]
}

/** `one` at least so many times as fast as the fastest of `others`; without a number it is told, not judged. */
interface Mark {
  readonly what: string
  readonly one: string
  readonly others: readonly string[]
  readonly atLeast?: number
}

type RacerName = keyof typeof STARTERS

const OURS = 'session-pgsql'
const SIMPLE = ['connect-pg-simple', 'connect-pg-simple, prepared'] as const
const REDIS = 'connect-redis'
const MEMORY = 'MemoryStore'
const PGBENCH = 'pgbench, 8 clients'
const STRAIGHT = 'node-postgres alone'
const STORES = [...SIMPLE, REDIS, MEMORY] as const

const STARTERS = {
  [OURS]: (setting: Setting) => process(setting, OURS, 'session-pgsql'),
  [SIMPLE[0]]: (setting: Setting) => process(setting, SIMPLE[0], 'connect-pg-simple'),
  [SIMPLE[1]]: (setting: Setting) => process(setting, SIMPLE[1], 'connect-pg-simple', { prepared: true }),
  [REDIS]: async (setting: Setting) =>
    setting.redis === undefined ? undefined : process(setting, REDIS, 'connect-redis'),
  [MEMORY]: (setting: Setting) => process(setting, MEMORY, 'memory-store'),
  [PGBENCH]: async ({ contestant }: Setting) => pgbench(contestant.where, contestant.sessions),
  [STRAIGHT]: (setting: Setting) => process(setting, STRAIGHT, 'straight'),
} as const

function process(
  { contestant, parameters }: Setting,
  name: string,
  file: string,
  own?: Record<string, unknown>,
): Promise<Racer> {
  return startRacer(name, file, own === undefined ? contestant : { ...contestant, own }, parameters.processes)
}

const all = (operation: Operation): Workload['field'] =>
  [OURS, ...STORES].map((racer) => ({ racer: racer as RacerName, operation }))

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'read',
    about: 'sessions read at random',
    window: Number.POSITIVE_INFINITY,
    field: [...all('read'), { racer: PGBENCH, operation: 'read' }],
    metadata: [
      { what: 'read', one: OURS, others: SIMPLE, atLeast: 6 },
      { what: 'read', one: OURS, others: [SIMPLE[0]] },
      { what: 'read', one: OURS, others: [REDIS], atLeast: 1.2 },
      { what: 'read', one: OURS, others: [PGBENCH], atLeast: 1.8 },
    ],
  },
  {
    name: 'write',
    about: 'sessions written at random, all of their data new',
    window: 10_000,
    field: [{ racer: OURS, operation: 'writeBased', name: `${OURS}, with a base` }, ...all('write')],
    metadata: [
      { what: 'write with a base', one: `${OURS}, with a base`, others: SIMPLE, atLeast: 4 },
      { what: 'write with a base', one: `${OURS}, with a base`, others: [SIMPLE[0]] },
      { what: 'write with a base', one: `${OURS}, with a base`, others: [REDIS], atLeast: 0.6 },
      { what: 'write without a base', one: OURS, others: SIMPLE, atLeast: 5 },
      { what: 'write without a base', one: OURS, others: [SIMPLE[0]] },
      { what: 'write without a base', one: OURS, others: [REDIS], atLeast: 0.75 },
    ],
  },
  {
    name: 'touch',
    about: 'expiries moved at random',
    window: 10_000,
    field: all('touch'),
    metadata: [
      { what: 'touch', one: OURS, others: SIMPLE, atLeast: 6 },
      { what: 'touch', one: OURS, others: [SIMPLE[0]] },
      { what: 'touch', one: OURS, others: [REDIS], atLeast: 0.9 },
    ],
  },
  ...(['read', 'writeBased'] as const).map(
    (operation): Workload => ({
      name: operation === 'read' ? 'read-alone' : 'write-alone',
      about: 'one caller alone, against the same statement sent straight through node-postgres, prepared',
      callers: 1,
      window: 200,
      field: [
        { racer: OURS, operation },
        { racer: STRAIGHT, operation },
      ],
      metadata: [
        {
          what: operation === 'read' ? 'read, one caller' : 'write with a base, one caller',
          one: OURS,
          others: [STRAIGHT],
          atLeast: 0.95,
        },
      ],
    }),
  ),
]

export async function runWorkload(workload: Workload, setting: Setting): Promise<WorkloadResult> {
  const racers = new Map<RacerName, Racer>()
  try {
    for (const { racer: name } of workload.field) {
      if (racers.has(name)) continue
      const racer = await STARTERS[name](setting)
      if (racer === undefined) setting.log(`${name}: not installed, so it does not run`)
      else racers.set(name, racer)
    }
    const entries = workload.field.flatMap(({ racer: name, operation, name: label }): Entry[] => {
      const racer = racers.get(name)
      return racer === undefined ? [] : [{ racer, operation, name: label ?? name }]
    })
    return await runRace(workload, entries, setting)
  } finally {
    for (const racer of racers.values()) await racer.close()
  }
}

async function runRace(
  { name, about, callers, window, metadata }: Omit<Workload, 'field'>,
  entries: readonly Entry[],
  { parameters }: Setting,
): Promise<WorkloadResult> {
  const { seconds, rounds, short } = parameters
  const standings = await race({
    entries,
    callers: callers ?? parameters.callers,
    seconds,
    rounds,
    warmUp: short ? 0 : 2,
    window,
  })
  return { name, about, standings, ratios: metadata.flatMap((mark) => judge(mark, standings)) }
}

/** Against the fastest of the others: their best setting counts. */
function judge({ what, one, others, atLeast }: Mark, standings: readonly Standing[]): RatioResult[] {
  const ours = standings.find(({ name }) => name === one)
  const [best] = standings
    .filter(({ name }) => others.includes(name))
    .sort((a, b) => b.rate.median - a.rate.median)
  if (ours === undefined || best === undefined) return []
  return [{ what, one, other: best.name, ratio: ratioOf(ours, best), atLeast }]
}

/** An application under load, over HTTP: its racers are applications, and who loads them is another process. */
const HTTP: Omit<Workload, 'field'> = {
  name: 'http',
  about: 'an Express application, each request reads a session and touches it',
  window: Number.POSITIVE_INFINITY,
  metadata: [
    { what: 'HTTP requests', one: OURS, others: [MEMORY], atLeast: 0.9 },
    { what: 'HTTP requests', one: OURS, others: SIMPLE, atLeast: 1.5 },
  ],
}

export async function runHttp(setting: Setting): Promise<WorkloadResult> {
  await setting.database.spreadExpiries()
  const racers = await appRacers(setting, { ours: OURS, simple: SIMPLE[0], memory: MEMORY })
  try {
    const entries = racers.map((racer): Entry => ({ racer, operation: 'read' }))
    return await runRace(HTTP, entries, setting)
  } finally {
    for (const racer of racers) await racer.close()
  }
}

/** By name, in the order in which they run. */
export const RACES: readonly {
  name: string
  about: string
  run(setting: Setting): Promise<WorkloadResult>
}[] = [
  ...WORKLOADS.map((workload) => ({
    name: workload.name,
    about: workload.about,
    run: (setting: Setting) => runWorkload(workload, setting),
  })),
  { name: HTTP.name, about: HTTP.about, run: runHttp },
]
