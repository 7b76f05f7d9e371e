import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type ConformanceOutcome, checkConformance } from 'session-pgsql/testing'
import { startPostgres } from '../../packages/session-pgsql/test/support/postgres.ts'
import { startRedis } from '../programs.ts'
import { connectPgSimpleContender, connectRedis, memoryStore, sessionPgsql } from './contenders.ts'
import type { Contender } from './postgres.ts'
import { type Column, markdownTable, withTable } from './table.ts'

/**
 * Holds the stores for express-session against `session-pgsql/testing`, side by side, and writes the outcome into
 * docs/conformance.md. Ends with 1 if ours fails in anything. Parameters: names of stores, to run those only and
 * write nothing.
 */
const PAGE = fileURLToPath(new URL('../../docs/conformance.md', import.meta.url))

async function main(names: readonly string[]): Promise<void> {
  const server = await startPostgres({ version: '18', settings: { fsync: 'off', max_connections: '200' } })
  const redis = await startRedis()
  const makers: [name: string, make: (() => Promise<Contender>) | undefined][] = [
    ['session-pgsql', () => sessionPgsql(server)],
    ['connect-pg-simple', () => connectPgSimpleContender(server)],
    ['connect-redis', redis && (() => connectRedis(redis))],
    ['MemoryStore', memoryStore],
  ]
  try {
    const columns: Column[] = []
    for (const [name, make] of makers) {
      if (names.length > 0 && !names.includes(name)) continue
      if (make === undefined) console.error(`${name} is left out: there is no redis-server to start`)
      else columns.push(await columnOf(await make()))
    }
    console.log(`\n${markdownTable(columns)}`)
    if (columns.length < makers.length) console.error(`Not all of them: ${PAGE} stays as it is`)
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

async function columnOf({ subject, version, stop }: Contender): Promise<Column> {
  console.log(`\n${subject.name} ${version}`)
  const outcomes = await checkConformance(subject, say)
  await stop()
  return { name: subject.name, version, outcomes }
}

function say({ outcome, sentence, reason }: ConformanceOutcome): void {
  console.log(`${outcome.padEnd(8)} ${sentence}`)
  if (reason !== undefined) console.log(reason.replace(/^/gm, '           '))
}

await main(process.argv.slice(2))
