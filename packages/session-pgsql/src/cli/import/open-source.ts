import { plain } from '../../database/database.ts'
import { Server } from '../../servers/server.ts'
import { databaseEntries } from '../../settings/database-entries.ts'
import type { DatabaseEntry } from '../../settings/settings.ts'
import { tableName } from '../../settings/table-name.ts'
import { UsageError } from '../arguments.ts'
import type { Context } from '../command.ts'
import { jsonLinesSource } from './json-lines.ts'
import { phpFilesSource } from './php-files.ts'
import { type PostgresSourceOptions, postgresSource } from './postgres-source.ts'
import { connectRedis } from './redis-client.ts'
import { type RedisKeys, redisSource } from './redis-source.ts'
import type { Source } from './source.ts'

/** The session stores that the command can import from. */
export const STORES = [
  'connect-pg-simple',
  'connect-session-knex',
  'connect-redis',
  'php-files',
  'phpredis',
  'jsonl',
] as const

/** Returns true for the stores of PHP. */
export function isPhp(store: string | undefined): boolean {
  return store === 'php-files' || store === 'phpredis'
}

interface PostgresStore {
  /** Default name of its table. */
  readonly table: string
  readonly columns: PostgresSourceOptions['columns']
}

const POSTGRES_STORES: Record<string, PostgresStore> = {
  'connect-pg-simple': { table: 'session', columns: ['sid', 'sess', 'expire'] },
  'connect-session-knex': { table: 'sessions', columns: ['sid', 'sess', 'expired'] },
}

const REDIS_STORES: Record<string, RedisKeys> = {
  'connect-redis': { prefix: 'sess:' },
  phpredis: { prefix: 'PHPREDIS_SESSION:', php: true },
}

/** Opens the store that the command line names. @throws UsageError, SessionPgsqlError */
export async function openSource(context: Context): Promise<Source> {
  const { arguments: args } = context
  const from = args.text('from')
  if (from === undefined || !STORES.includes(from as never)) {
    throw new UsageError(`--from: expected one of ${STORES.join(', ')}`)
  }
  const store = POSTGRES_STORES[from]
  const keys = REDIS_STORES[from]
  const applicable = [store && ['source-table', 'zone'], keys && ['prefix']].flatMap((names) => names ?? [])
  for (const option of ['source-table', 'zone', 'prefix']) {
    if (args.has(option) && !applicable.includes(option)) {
      throw new UsageError(`--${option} does not apply to ${from}`)
    }
  }
  if (store !== undefined) return openPostgres(context, store)
  if (keys !== undefined) return openRedis(context, keys)
  const path = args.text('source')
  if (path === undefined) {
    throw new UsageError(`--source is required: the ${from === 'jsonl' ? 'file' : 'folder'} to import`)
  }
  return from === 'jsonl' ? jsonLinesSource(path) : phpFilesSource(path, context.settings.gcMaxlifetime)
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

async function openRedis({ arguments: args, environment }: Context, keys: RedisKeys): Promise<Source> {
  const text = args.text('source') ?? environment.REDIS_URL ?? 'redis://localhost:6379'
  const { url, prefix = keys.prefix } = redisAddress(text) ?? {}
  if (url === undefined) {
    throw new UsageError(
      `--source: expected a URL such as redis://localhost:6379 or rediss://user@host:6379/0${keys.php ? ', or a save path of phpredis such as tcp://host:6379?database=3' : ''}`,
    )
  }
  const client = await connectRedis(url.href)
  const database = url.pathname.replace('/', '') || '0'
  return redisSource(client, `${url.hostname}:${url.port || 6379}/${database}`, {
    ...keys,
    prefix: args.text('prefix') ?? prefix,
  })
}

/** Returns the URL of a Redis, and the prefix that a save path of phpredis names; undefined if it is neither. */
function redisAddress(text: string): { url: URL; prefix?: string } | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['redis:', 'rediss:', 'tcp:', 'tls:'].includes(url.protocol)) return undefined
  if (url.protocol.startsWith('redis')) return { url }
  const query = url.searchParams
  const redis = new URL(`${url.protocol === 'tls:' ? 'rediss' : 'redis'}://${url.host}`)
  redis.pathname = query.get('database') ?? ''
  const [first = query.get('auth') ?? '', second] = query.getAll('auth[]')
  redis.username = second === undefined ? '' : first
  redis.password = second ?? first
  const prefix = query.get('prefix')
  return { url: redis, ...(prefix !== null && { prefix }) }
}
