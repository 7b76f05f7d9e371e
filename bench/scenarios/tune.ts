import { type Candidate, compare, type Measurement, ratioOf, startCandidate } from '../compare.ts'
import type { BenchContext, Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import type { Metric } from '../results.ts'
import { sessionId } from '../sessions.ts'
import type { ConnectionConfig, Operation, StoreOptions } from '../stores/store.ts'
import { touchEveryMinute } from './touches.ts'

/** The effect of each setting, for docs/performance.md. */
export const tune: Scenario = {
  name: 'tune',
  description: 'effect of each setting, relative to its default',
  async run(context) {
    const metrics: Metric[] = []
    for (const measure of [poolSize, batching, synchronousCommit, refreshAfter, fillfactor, autovacuum]) {
      context.log(`tune: ${measure.name}`)
      metrics.push(...(await measure(context)))
    }
    return metrics
  },
}

type Variant = readonly [name: string, change: Partial<StoreOptions>]

async function poolSize(context: BenchContext): Promise<Metric[]> {
  const variants = [1, 2, 5, 20].map((size): Variant => [`poolSize ${size}`, { own: { poolSize: size } }])
  return compareVariants(context, ['poolSize 10', {}], variants, ['read', 'writeBased'])
}

async function batching(context: BenchContext): Promise<Metric[]> {
  return compareVariants(
    context,
    ['batch on', {}],
    [['batch off', { own: { batch: false } }]],
    ['read', 'write', 'touch'],
  )
}

async function synchronousCommit(context: BenchContext): Promise<Metric[]> {
  const connection = { ...context.storeOptions.connection, options: '-c synchronous_commit=off' }
  return compareVariants(
    context,
    ['synchronous_commit on', {}],
    [['synchronous_commit off', { connection }]],
    ['write', 'writeBased', 'touch'],
  )
}

/** Compares variants of a setting with its default. */
async function compareVariants(
  { parameters, storeOptions }: BenchContext,
  [defaultName, defaultChange]: Variant,
  variants: readonly Variant[],
  operations: readonly Operation[],
): Promise<Metric[]> {
  const candidates: Candidate[] = []
  try {
    for (const [name, change] of [[defaultName, defaultChange] as Variant, ...variants]) {
      candidates.push(await startCandidate(name, 'session-pgsql', { ...storeOptions, ...change }))
    }
    const metrics: Metric[] = []
    for (const operation of operations) {
      const measurements = await compare({
        entries: candidates.map((candidate) => ({ candidate, operation })),
        callers: parameters.callers,
        seconds: parameters.seconds,
        rounds: parameters.rounds,
        warmUp: parameters.short ? 0 : 2,
        window: 10_000,
      })
      const [baseline, ...others] = measurements as [Measurement, ...Measurement[]]
      for (const other of others) {
        metrics.push({
          name: `${LABELS[operation]}, ${other.name} relative to ${baseline.name}`,
          value: ratioOf(other, baseline).median,
          unit: 'x',
        })
      }
    }
    return metrics
  } finally {
    for (const candidate of candidates) await candidate.close()
  }
}

const LABELS: Record<Operation, string> = {
  read: 'read',
  write: 'write',
  writeBased: 'write with a base',
  touch: 'touch',
  visit: 'read and unchanged save',
}

/**
 * Requests that change nothing: a read, then a touch with the record as base. Each variant has its own table, because
 * it moves the expiries.
 */
async function refreshAfter(context: BenchContext): Promise<Metric[]> {
  const { sessions, bytes } = context.parameters
  const databases: BenchDatabase[] = []
  try {
    for (let n = 0; n < 3; n++) {
      const database = await BenchDatabase.create(context.postgres)
      databases.push(database)
      await database.fillSessions({ sessions, bytes })
      await database.distributeExpiries()
    }
    const [off, tenth, never] = databases.map(({ connection }) => connection) as [
      ConnectionConfig,
      ConnectionConfig,
      ConnectionConfig,
    ]
    return await compareVariants(
      context,
      ['shortCircuit off', { connection: off }],
      [
        ['refreshAfter a tenth of the lifetime', { connection: tenth, own: { shortCircuit: true } }],
        [
          'refreshAfter Infinity',
          { connection: never, own: { shortCircuit: true, refreshAfter: 'Infinity' } },
        ],
      ],
      ['visit'],
    )
  } finally {
    for (const database of databases) await database.drop()
  }
}

/** Touches once a minute, in a table in which all sessions are active. */
async function fillfactor({ parameters, postgres }: BenchContext): Promise<Metric[]> {
  const { short, bytes, callers } = parameters
  const active = short ? 100 : 5000
  const metrics: Metric[] = []
  for (const factor of [100, 90, 80, 70]) {
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions: active, bytes, storage: `fillfactor = ${factor}` })
      const fresh = await database.size()
      const ids = Array.from({ length: active }, (_, n) => sessionId(n))
      const { hot, wal, size } = await touchEveryMinute(database, ids, callers)
      metrics.push(
        { name: `fillfactor ${factor}: after filling`, value: fresh / active, unit: 'bytes/session' },
        { name: `fillfactor ${factor}: HOT updates`, value: hot, unit: '%' },
        { name: `fillfactor ${factor}: WAL per touch`, value: wal, unit: 'bytes' },
        { name: `fillfactor ${factor}: size after the touches`, value: size / active, unit: 'bytes/session' },
      )
    } finally {
      await database.drop()
    }
  }
  return metrics
}

/** Growth of a table whose sessions are replaced, with PostgreSQL's scale factor and with that of the created table. */
async function autovacuum({ parameters, postgres }: BenchContext): Promise<Metric[]> {
  const { short, bytes, sessions } = parameters
  const metrics: Metric[] = []
  // The traffic of a day passes in a minute, so autovacuum runs more often by the same factor.
  await postgres.configure("SET autovacuum_naptime = '2s'")
  for (const [name, storage] of [
    ['as created (0.02)', ''],
    [
      "PostgreSQL's default (0.2)",
      'autovacuum_vacuum_scale_factor = 0.2, toast.autovacuum_vacuum_scale_factor = 0.2',
    ],
    ['off', 'autovacuum_enabled = off'],
  ] as const) {
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions, bytes, storage })
      const before = await database.size()
      // Every session is replaced by another one, twice, in steps.
      const steps = short ? 2 : 60
      for (let step = 0; step < steps; step++) {
        await database.query(
          `WITH gone AS (
             DELETE FROM php_session WHERE sess_id IN (
               SELECT sess_id FROM php_session ORDER BY sess_modified, sess_id LIMIT $1::int) RETURNING *)
           INSERT INTO php_session (sess_id, sess_name, sess_data, sess_created, sess_modified, sess_expire,
             sess_counter, sess_sweep, sess_generation)
           SELECT md5(sess_id || $2::text), sess_name, sess_data, sess_created, sess_modified + 1, sess_expire,
             1, sess_sweep, sess_generation FROM gone`,
          [Math.ceil((2 * sessions) / steps), String(step)],
        )
        await new Promise((resolve) => setTimeout(resolve, short ? 0 : 1000))
      }
      metrics.push({
        name: `autovacuum scale factor ${name}: growth`,
        value: (await database.size()) / before,
        unit: 'x',
      })
    } finally {
      await database.drop()
    }
  }
  await postgres.configure('RESET autovacuum_naptime')
  return metrics
}
