import { plain } from '../../database/database.ts'
import { Server } from '../../servers/server.ts'
import { databaseEntries } from '../../settings/database-entries.ts'
import type { DatabaseEntry } from '../../settings/settings.ts'
import { tableName } from '../../settings/table-name.ts'
import { UsageError } from '../arguments.ts'
import type { Context } from '../command.ts'
import { type PostgresSourceOptions, postgresSource } from './postgres-source.ts'
import { connectRedis } from './redis-client.ts'
import { redisSource } from './redis-source.ts'
import type { Source } from './source.ts'

/** The session stores that the command can import from. */
export const STORES = ['connect-pg-simple', 'connect-session-knex', 'connect-redis'] as const

interface PostgresStore {
  /** Default name of its table. */
  readonly table: string
  readonly columns: PostgresSourceOptions['columns']
}

const POSTGRES_STORES: Record<string, PostgresStore> = {
  'connect-pg-simple': { table: 'session', columns: ['sid', 'sess', 'expire'] },
  'connect-session-knex': { table: 'sessions', columns: ['sid', 'sess', 'expired'] },
}

/** Opens the store that the command line names. @throws UsageError, SessionPgsqlError */
export async function openSource(context: Context): Promise<Source> {
  const { arguments: args } = context
  const from = args.text('from')
  if (from === undefined || !STORES.includes(from as never)) {
    throw new UsageError(`--from: expected one of ${STORES.join(', ')}`)
  }
  const store = POSTGRES_STORES[from]
  const inapplicable = store === undefined ? ['source-table', 'zone'] : ['prefix']
  for (const option of inapplicable) {
    if (args.has(option)) throw new UsageError(`--${option} does not apply to ${from}`)
  }
  return store === undefined ? openRedis(context) : openPostgres(context, store)
}

async function openPostgres(context: Context, store: PostgresStore): Promise<Source> {
  const { arguments: args, settings, servers } = context
  const table = tableName('--source-table', args.text('source-table') ?? store.table)
  const text = args.text('source')
  let server = servers[0] as Server
  if (text !== undefined) {
    const [entry, more] = databaseEntries('--source', text, context.environment)
    if (more !== undefined) throw new UsageError('--source: expected one database')
    server = new Server(entry as DatabaseEntry, settings, context)
  } else if (servers.length > 1) {
    throw new UsageError('--source is required, because db has several servers')
  }
  // The context closes the servers of db.
  const close = async (): Promise<void> => {
    if (text !== undefined) await server.close()
  }
  try {
    return await postgresSource({
      query: (statement, parameters) => server.query(plain(statement), parameters, context.deadline()),
      close,
      database: server.name,
      table,
      columns: store.columns,
      zone: args.text('zone'),
    })
  } catch (error) {
    await close()
    throw error
  }
}

async function openRedis({ arguments: args, environment }: Context): Promise<Source> {
  const text = args.text('source') ?? environment.REDIS_URL ?? 'redis://localhost:6379'
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
    args.text('prefix') ?? 'sess:',
  )
}
