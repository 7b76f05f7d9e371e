import { plain } from '../../database/database.ts'
import { Server } from '../../servers/server.ts'
import { databaseEntries } from '../../settings/database-entries.ts'
import type { DatabaseEntry } from '../../settings/settings.ts'
import { tableName } from '../../settings/table-name.ts'
import type { Context } from '../command.ts'
import { UsageError } from '../flags.ts'
import { type PostgresSourceOptions, postgresSource } from './postgres-source.ts'
import { connectRedis } from './redis-client.ts'
import { redisSource } from './redis-source.ts'
import type { Source } from './source.ts'

/** The stores that sessions can be imported from. */
export const STORES = ['connect-pg-simple', 'connect-session-knex', 'connect-redis'] as const

interface PostgresStore {
  /** Its default. */
  readonly table: string
  readonly columns: PostgresSourceOptions['columns']
}

const POSTGRES_STORES: Record<string, PostgresStore> = {
  'connect-pg-simple': { table: 'session', columns: ['sid', 'sess', 'expire'] },
  'connect-session-knex': { table: 'sessions', columns: ['sid', 'sess', 'expired'] },
}

/** Opens what the flags name. @throws UsageError */
export async function openSource(context: Context): Promise<Source> {
  const { arguments: given } = context
  const from = given.text('from')
  if (from === undefined || !STORES.includes(from as never)) {
    throw new UsageError(`expected --from with one of ${STORES.join(', ')}`)
  }
  const store = POSTGRES_STORES[from]
  const foreign = store === undefined ? ['source-table', 'zone'] : ['prefix']
  for (const flag of foreign) {
    if (given.has(flag)) throw new UsageError(`--${flag} does not go with ${from}`)
  }
  return store === undefined ? openRedis(context) : openPostgres(context, store)
}

async function openPostgres(context: Context, store: PostgresStore): Promise<Source> {
  const { arguments: given, settings, servers } = context
  const table = tableName('--source-table', given.text('source-table') ?? store.table)
  const text = given.text('source')
  let server = servers[0] as Server
  if (text !== undefined) {
    const [entry, more] = databaseEntries('--source', text, context.environment)
    if (more !== undefined) throw new UsageError('--source: expected one database')
    server = new Server(entry as DatabaseEntry, settings, context)
  } else if (servers.length > 1) {
    throw new UsageError('expected --source: db has several servers, and the old table lies on one')
  }
  // The servers of db are closed by whoever opened them.
  const close = async (): Promise<void> => {
    if (text !== undefined) await server.close()
  }
  try {
    return await postgresSource({
      ask: (statement, parameters) => server.query(plain(statement), parameters, context.deadline()),
      close,
      database: server.name,
      table,
      columns: store.columns,
      zone: given.text('zone'),
    })
  } catch (error) {
    await close()
    throw error
  }
}

async function openRedis({ arguments: given, environment }: Context): Promise<Source> {
  const text = given.text('source') ?? environment.REDIS_URL ?? 'redis://localhost:6379'
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['redis:', 'rediss:'].includes(url.protocol)) {
    throw new UsageError(
      '--source: expected a URL such as redis://localhost:6379 or rediss://user@host:6379/0',
    )
  }
  const client = await connectRedis(text)
  const database = url.pathname.replace('/', '') || '0'
  return redisSource(
    client,
    `${url.hostname}:${url.port || 6379}/${database}`,
    given.text('prefix') ?? 'sess:',
  )
}
