import { describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { runHere } from '../cli/command-line.ts'
import { errorOf } from '../handler/kit.ts'
import { freePort } from '../support/connect.ts'
import { describeOnEveryKind } from '../support/servers.ts'

/** What a failed connection says about the database if no source has named one. */

const ADVICE =
  ' No database was named: set the option db or DATABASE_URL. The default is "host=localhost dbname=php_session user=nobody".'

type Sources = NonNullable<ConstructorParameters<typeof SaveHandler>[1]>

async function messageOf(options: SaveHandlerOptions, sources: Sources): Promise<string> {
  const sessions = new SaveHandler({ gcInterval: 0, ...options }, sources)
  const error = await errorOf(sessions.open())
  await sessions.close()
  return (error as Error).message
}

describe('a server that cannot be reached', () => {
  test('names db and DATABASE_URL if neither is set', async () => {
    const PGPORT = String(await freePort())
    expect(await messageOf({}, { environment: { PGPORT } })).toMatch(
      new RegExp(`cannot be reached: .*ECONNREFUSED.*:${PGPORT}\\.${ADVICE}$`),
    )
  })

  test('says so in doctor, too', async () => {
    const PGPORT = String(await freePort())
    const { code, stdout } = await runHere(['doctor', '--json'], { environment: { PGPORT } })
    expect(code).toBe(1)
    expect(JSON.parse(stdout).servers[0].findings).toEqual([
      expect.objectContaining({ check: 'connection', message: expect.stringContaining(ADVICE) }),
    ])
  })

  const db = async (): Promise<string> => `host=localhost port=${await freePort()} dbname=d user=u`
  const sources: Record<string, () => Promise<[SaveHandlerOptions, Sources]>> = {
    'the option db': async () => [{ db: await db() }, { environment: {} }],
    DATABASE_URL: async () => [{}, { environment: { DATABASE_URL: await db() } }],
    SESSION_PGSQL_DB: async () => [{}, { environment: { SESSION_PGSQL_DB: await db() } }],
    PGHOST: async () => [{}, { environment: { PGHOST: 'localhost', PGPORT: String(await freePort()) } }],
    'php.ini': async () => [{}, { ini: new Map([['session_pgsql.db', await db()]]), environment: {} }],
  }
  test.each(Object.keys(sources))('does not say so if %s names it', async (source) => {
    const message = await messageOf(...(await (sources[source] as (typeof sources)[string])()))
    expect(message).toMatch(/cannot be reached: .*ECONNREFUSED.*\.$/)
    expect(message).not.toContain('No database was named')
  })
})

describeOnEveryKind(
  'a server that rejects the default user',
  (server) => {
    test('names db and DATABASE_URL, too', async () => {
      const { port } = new URL((await server.freshDatabase()).db as string)
      expect(await messageOf({}, { environment: { PGPORT: port } })).toMatch(
        new RegExp(`rejected the connection: .*\\(SQLSTATE \\w{5}\\)\\.${ADVICE}$`),
      )
    })
  },
  ['postgres'],
)
