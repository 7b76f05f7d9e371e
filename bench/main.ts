import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, type as systemType, totalmem } from 'node:os'
import { startPostgres } from '../packages/session-pgsql/test/support/postgres.ts'
import type { BenchContext, Scenario } from './context.ts'
import { BenchDatabase } from './database.ts'
import { HELP, type Parameters, readParameters } from './parameters.ts'
import { findProgram, REDIS_PERSISTENCE, type Redis, type RedisPersistence, startRedis } from './programs.ts'
import { markdown } from './report/markdown.ts'
import { svg } from './report/svg.ts'
import { machineText, scenarioText, workloadText } from './report/text.ts'
import { failedChecks, type Results } from './results.ts'
import { LONG, SCENARIOS } from './scenarios/all.ts'
import { createTable } from './stores/connect-pg-simple.ts'
import { fillRedis } from './stores/connect-redis.ts'
import { ALL_WORKLOADS } from './workloads.ts'

/**
 * Durable, which is PostgreSQL's default. shared_buffers is a quarter of the memory, where its documentation recommends
 * to start. Checkpoints are rare, so that none affects one candidate and not another.
 */
const POSTGRES_SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: `${Math.floor(totalmem() / 4 / 2 ** 20)}MB`,
  max_wal_size: '8GB',
  checkpoint_timeout: '15min',
  max_connections: '400',
}

async function main(): Promise<void> {
  const parameters = readParameters(process.argv.slice(2))
  const log = (line: string): void => {
    // Progress goes to stderr, because the tables on stdout may be piped.
    console.error(line)
  }
  if (parameters.help) return console.log(HELP)
  if (parameters.list) {
    for (const { name, description } of [...ALL_WORKLOADS, ...SCENARIOS])
      console.log(`${name.padEnd(18)}${description}`)
    return
  }
  const results =
    parameters.from === undefined
      ? await measure(parameters, log)
      : (JSON.parse(readFileSync(parameters.from, 'utf8')) as Results)
  if (parameters.json) writeFileSync(parameters.json, `${JSON.stringify(results, null, 2)}\n`)
  if (parameters.svg) writeFileSync(parameters.svg, svg(results))
  if (parameters.markdown) console.log(markdown(results))

  const failed = failedChecks(results)
  for (const check of failed) log(`FAILED: ${check}`)
  if (failed.length > 0) process.exitCode = 1
}

async function measure(parameters: Parameters, log: (line: string) => void): Promise<Results> {
  const workloads = ALL_WORKLOADS.filter(({ name }) => isSelected(name, parameters))
  const scenarios = SCENARIOS.filter((scenario) => isSelected(scenario.name, parameters, scenario))
  const unknown = parameters.only?.filter(
    (name) => ![...ALL_WORKLOADS, ...SCENARIOS].some((one) => one.name === name),
  )
  if (unknown?.length) throw new Error(`--only: unknown ${unknown.join(', ')}; --list prints the names`)

  const postgres = await startPostgres({ version: parameters.postgres, settings: POSTGRES_SETTINGS })
  const closers: (() => Promise<void>)[] = [() => postgres.remove()]
  try {
    const redis = new Map<RedisPersistence, Redis>()
    for (const persistence of REDIS_PERSISTENCE) {
      const started = await startRedis(persistence)
      if (started === undefined) break
      redis.set(persistence, started)
      closers.unshift(() => started.stop())
    }
    const database = await BenchDatabase.create(postgres)
    closers.unshift(() => database.drop())
    const { sessions, bytes } = parameters
    const [version] = await postgres.query<{ server_version: string }>('SHOW server_version')
    const results: Results = {
      date: new Date().toISOString(),
      machine: {
        cpus: `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown processor'}`,
        memory: `${Math.round(totalmem() / 1024 ** 3)} GiB`,
        system: `${systemType()} ${release()}`,
        node: process.versions.node,
        postgres: version?.server_version ?? 'unknown',
        settings: POSTGRES_SETTINGS,
        redis: versionOf('redis-server'),
        pgbench: versionOf('pgbench'),
      },
      parameters: { ...parameters },
      short: parameters.short,
      workloads: [],
      scenarios: [],
    }
    log(machineText(results))

    await createTable(database.connection)
    await database.fillSessions({ sessions, bytes })
    await database.fillConnectPgSimple(sessions, bytes)
    for (const { port } of redis.values()) await fillRedis(port, sessions, bytes)
    const storeOptions = { connection: database.connection, sessions, bytes }
    const context: BenchContext = { parameters, postgres, database, redis, storeOptions, log }

    for (const { run } of workloads) {
      for (const result of await run(context)) {
        results.workloads.push(result)
        log(workloadText(result, parameters.short))
      }
    }
    for (const { name, description, run } of scenarios) {
      const result = { name, description, metrics: await run(context) }
      results.scenarios.push(result)
      log(scenarioText(result, parameters.short))
    }
    return results
  } finally {
    // One that fails does not prevent the others.
    for (const close of closers) await close().catch((error) => log(String(error)))
  }
}

function isSelected(name: string, { only, big, soak, tune }: Parameters, scenario?: Scenario): boolean {
  if (only !== undefined) return only.includes(name)
  if (scenario === undefined || !LONG.includes(scenario)) return true
  return { 'big-table': big, soak: soak !== undefined, tune }[name] === true
}

function versionOf(name: string): string | undefined {
  const program = findProgram(name)
  return program && execFileSync(program, ['--version'], { encoding: 'utf8' }).trim()
}

await main()
