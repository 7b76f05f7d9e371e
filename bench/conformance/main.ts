import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type ConformanceOutcome, checkConformance } from 'session-pgsql/testing'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'
import { startRedis } from '../programs.ts'
import type { TestedStore } from './postgres.ts'
import { connectPgSimpleStore, connectRedis, memoryStore, sessionPgsql } from './stores.ts'
import { type Column, markdownTable, withTable } from './table.ts'

/**
 * Runs the suite `session-pgsql/testing` on the stores for express-session and writes the outcomes into
 * docs/conformance.md. Exits with 1 if session-pgsql fails a case. Parameters: names of stores, to run only those and
 * write nothing.
 */
const PAGE = fileURLToPath(new URL('../../docs/conformance.md', import.meta.url))

async function main(names: readonly string[]): Promise<void> {
  const server = await startPostgres({ version: '18', settings: { fsync: 'off', max_connections: '200' } })
  const redis = await startRedis('no')
  const stores: [name: string, start: (() => Promise<TestedStore>) | undefined][] = [
    ['session-pgsql', () => sessionPgsql(server)],
    ['connect-pg-simple', () => connectPgSimpleStore(server)],
    ['connect-redis', redis && (() => connectRedis(redis))],
    ['MemoryStore', memoryStore],
  ]
  try {
    const columns: Column[] = []
    for (const [name, start] of stores) {
      if (names.length > 0 && !names.includes(name)) continue
      if (start === undefined) console.error(`Skipping ${name}: redis-server is not installed.`)
      else columns.push(await columnOf(await start()))
    }
    console.log(`\n${markdownTable(columns)}`)
    if (columns.length < stores.length) console.error(`Not all stores have run: ${PAGE} is unchanged.`)
    else writeFileSync(PAGE, withTable(readFileSync(PAGE, 'utf8'), markdownTable(columns)))
    const [ours] = columns
    if (ours?.name === 'session-pgsql' && ours.outcomes.some(({ outcome }) => outcome !== 'holds')) {
      process.exitCode = 1
    }
  } finally {
    await redis?.stop()
    await server.remove()
  }
}

async function columnOf({ subject, version, stop }: TestedStore): Promise<Column> {
  console.log(`\n${subject.name} ${version}`)
  const outcomes = await checkConformance(subject, print)
  await stop()
  return { name: subject.name, version, outcomes }
}

function print({ outcome, sentence, reason }: ConformanceOutcome): void {
  console.log(`${outcome.padEnd(8)} ${sentence}`)
  if (reason !== undefined) console.log(reason.replace(/^/gm, '           '))
}

await main(process.argv.slice(2))
