import { randomBytes } from 'node:crypto'
import { SaveHandler } from 'session-pgsql'
import { type Candidate, compare, type Measurement, ratioOf, startCandidate } from '../compare.ts'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import type { Metric } from '../results.ts'
import { sessionData, sessionId } from '../sessions.ts'
import type { Operation } from '../stores/store.ts'

/** Throughput of encrypted sessions relative to that of plain ones, by operation. */
const TARGETS = [
  ['read', 'read', 0.65],
  ['writeBased', 'write with a base', 0.8],
  ['write', 'write', 0.8],
] as const satisfies readonly (readonly [Operation, string, number])[]

export const encryption: Scenario = {
  name: 'encryption',
  description: 'encrypted sessions, relative to plain ones',
  async run({ parameters, postgres, storeOptions, log }) {
    const { bytes, callers, rounds, seconds, sessions, short } = parameters
    const keys = [{ id: 'bench', key: randomBytes(32).toString('base64') }]
    const databases: BenchDatabase[] = []
    const candidates: Candidate[] = []
    try {
      for (const [name, own] of [
        ['plain', {}],
        ['encrypted', { encryption: { keys } }],
      ] as const) {
        const database = await BenchDatabase.create(postgres)
        databases.push(database)
        await fill(database, sessions, bytes, own)
        const options = { ...storeOptions, connection: database.connection, own }
        candidates.push(await startCandidate(name, 'session-pgsql', options))
      }
      const metrics: Metric[] = []
      for (const [operation, label, atLeast] of TARGETS) {
        log(`encryption: ${label}`)
        const [plain, encrypted] = (await compare({
          entries: candidates.map((candidate) => ({ candidate, operation })),
          ...{ callers, seconds, rounds },
          warmUp: short ? 0 : 2,
          window: 10_000,
        })) as [Measurement, Measurement]
        metrics.push({
          name: `${label}, encrypted relative to plain`,
          value: ratioOf(encrypted, plain).median,
          unit: 'x',
          target: { atLeast, always: false },
        })
      }
      const [plain, encrypted] = databases as [BenchDatabase, BenchDatabase]
      metrics.push(
        { name: 'stored data, plain', value: await averageData(plain), unit: 'bytes' },
        { name: 'stored data, encrypted', value: await averageData(encrypted), unit: 'bytes' },
      )
      return metrics
    } finally {
      for (const candidate of candidates) await candidate.close()
      for (const database of databases) await database.drop()
    }
  },
}

/** Fills the table by writes, because only a save handler encrypts. */
async function fill(
  database: BenchDatabase,
  sessions: number,
  bytes: number,
  own: { readonly encryption?: { readonly keys: readonly { readonly id: string; readonly key: string }[] } },
): Promise<void> {
  const handler = new SaveHandler<object>({
    db: database.connection,
    gcInterval: 0,
    operationTimeout: 60,
    ...own,
  })
  try {
    const data = sessionData(0, bytes)
    for (let first = 0; first < sessions; first += 5000) {
      const count = Math.min(5000, sessions - first)
      await Promise.all(
        Array.from({ length: count }, (_, n) =>
          handler.write(sessionId(first + n), { ...data, views: first + n }, { lifetime: 86_400 }),
        ),
      )
    }
  } finally {
    await handler.close()
  }
  await database.query('VACUUM (ANALYZE) php_session')
}

function averageData(database: BenchDatabase): Promise<number> {
  return database.value('SELECT avg(octet_length(sess_data)) FROM php_session')
}
