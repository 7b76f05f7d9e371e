import type { ContestantOptions, Operation, Where } from '../contestants/contestant.ts'
import { type Racer, race, ratioOf, type Standing, startRacer } from '../race.ts'
import type { Figure } from '../results.ts'
import { sessionId } from '../sessions.ts'
import type { Scenario, Setting } from '../setting.ts'
import { BenchDatabase } from '../tables.ts'
import { touchByTheMinute } from './touches.ts'

/** What each setting does, for docs/performance.md: "what to set for one's own load". */
export const tune: Scenario = {
  name: 'tune',
  about: 'what each setting does, measured against its default',
  async run(setting) {
    const figures: Figure[] = []
    for (const measure of [poolSize, batching, synchronousCommit, refreshAfter, fillfactor, autovacuum]) {
      setting.log(`tune: ${measure.name}`)
      figures.push(...(await measure(setting)))
    }
    return figures
  },
}

type Variant = readonly [name: string, change: Partial<ContestantOptions>]

async function poolSize(setting: Setting): Promise<Figure[]> {
  const variants = [1, 2, 5, 20].map((size): Variant => [`poolSize ${size}`, { own: { poolSize: size } }])
  return compare(setting, ['poolSize 10', {}], variants, ['read', 'writeBased'])
}

async function batching(setting: Setting): Promise<Figure[]> {
  return compare(
    setting,
    ['batch on', {}],
    [['batch off', { own: { batch: false } }]],
    ['read', 'write', 'touch'],
  )
}

async function synchronousCommit(setting: Setting): Promise<Figure[]> {
  const where = { ...setting.contestant.where, options: '-c synchronous_commit=off' }
  return compare(
    setting,
    ['synchronous_commit on', {}],
    [['synchronous_commit off', { where }]],
    ['write', 'writeBased', 'touch'],
  )
}

/** Races a default against variants of it. */
async function compare(
  { parameters, contestant }: Setting,
  [defaultName, defaultChange]: Variant,
  variants: readonly Variant[],
  operations: readonly Operation[],
): Promise<Figure[]> {
  const racers: Racer[] = []
  try {
    for (const [name, change] of [[defaultName, defaultChange] as Variant, ...variants]) {
      racers.push(await startRacer(name, 'session-pgsql', { ...contestant, ...change }))
    }
    const figures: Figure[] = []
    for (const operation of operations) {
      const standings = await race({
        entries: racers.map((racer) => ({ racer, operation })),
        callers: parameters.callers,
        seconds: parameters.seconds,
        rounds: parameters.rounds,
        warmUp: parameters.short ? 0 : 2,
        window: 10_000,
      })
      const [basis, ...others] = standings as [Standing, ...Standing[]]
      for (const other of others) {
        figures.push({
          what: `${LABELS[operation]}, ${other.name} against ${basis.name}`,
          value: ratioOf(other, basis).median,
          unit: 'x',
        })
      }
    }
    return figures
  } finally {
    for (const racer of racers) await racer.close()
  }
}

const LABELS: Record<Operation, string> = {
  read: 'read',
  write: 'write',
  writeBased: 'write with a base',
  touch: 'touch',
  visit: 'read and unchanged save',
}

/** Requests that change nothing: read, then touch with the record as base. Each in a table of its own, for they move the expiries. */
async function refreshAfter(setting: Setting): Promise<Figure[]> {
  const { sessions, bytes } = setting.parameters
  const databases: BenchDatabase[] = []
  try {
    for (let n = 0; n < 3; n++) {
      const database = await BenchDatabase.create(setting.postgres)
      databases.push(database)
      await database.fillSessions({ sessions, bytes })
      await database.spreadExpiries()
    }
    const [off, tenth, never] = databases.map(({ where }) => where) as [Where, Where, Where]
    return await compare(
      setting,
      ['short circuit off', { where: off }],
      [
        ['refreshAfter a tenth of the lifetime', { where: tenth, own: { shortCircuit: true } }],
        ['refreshAfter Infinity', { where: never, own: { shortCircuit: true, refreshAfter: 'Infinity' } }],
      ],
      ['visit'],
    )
  } finally {
    for (const database of databases) await database.drop()
  }
}

/** A minute apart, in a table of nothing but active sessions. */
async function fillfactor({ parameters, postgres }: Setting): Promise<Figure[]> {
  const { short, bytes, callers } = parameters
  const active = short ? 100 : 5000
  const figures: Figure[] = []
  for (const factor of [100, 90, 80, 70]) {
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions: active, bytes, storage: `fillfactor = ${factor}` })
      const fresh = await database.size()
      const ids = Array.from({ length: active }, (_, n) => sessionId(n))
      const { hot, wal, size } = await touchByTheMinute(database, ids, callers)
      figures.push(
        { what: `fillfactor ${factor}: freshly filled`, value: fresh / active, unit: 'bytes/session' },
        { what: `fillfactor ${factor}: HOT`, value: hot, unit: '%' },
        { what: `fillfactor ${factor}: WAL per touch`, value: wal, unit: 'bytes' },
        { what: `fillfactor ${factor}: size after the touches`, value: size / active, unit: 'bytes/session' },
      )
    } finally {
      await database.drop()
    }
  }
  return figures
}

/** Sessions that come and go: what PostgreSQL's own scale factor lets the table grow to, and what ours does. */
async function autovacuum({ parameters, postgres }: Setting): Promise<Figure[]> {
  const { short, bytes, sessions } = parameters
  const figures: Figure[] = []
  // Time is short here: what would be a day's traffic passes in a minute, and autovacuum looks as much more often.
  await postgres.query("ALTER SYSTEM SET autovacuum_naptime = '2s'")
  await postgres.query('SELECT pg_reload_conf()')
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
      figures.push({
        what: `autovacuum scale factor ${name}: growth`,
        value: (await database.size()) / before,
        unit: 'x',
      })
    } finally {
      await database.drop()
    }
  }
  await postgres.query('ALTER SYSTEM RESET autovacuum_naptime')
  await postgres.query('SELECT pg_reload_conf()')
  return figures
}
