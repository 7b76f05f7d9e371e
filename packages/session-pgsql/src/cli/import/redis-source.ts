import { bytesToText } from '../../codec/bytes.ts'
import { SessionPgsqlError } from '../../errors.ts'
import type { RedisClient } from './redis-client.ts'
import { BATCH_SIZE, type Source, type SourceSession } from './source.ts'

/** Keys whose values are fetched at the same time. Small, because the size of the values is unknown. */
const CONCURRENCY = 100

/** The keys of a session store in Redis. */
export interface RedisKeys {
  readonly prefix: string
  /** Whether the values are sessions of PHP; otherwise JSON. */
  readonly php?: boolean
}

/**
 * Reads the keys of connect-redis or of phpredis: a prefix and the id, with the data as value and the TTL as expiry.
 * Finds them with SCAN, which does not block Redis and returns every key that exists from its start to its end.
 *
 * @param where host, port and database, for the source's name
 */
export function redisSource(client: RedisClient, where: string, { prefix, php = false }: RedisKeys): Source {
  const attempt = async <T>(command: string, reply: Promise<T>): Promise<T> => {
    try {
      return await reply
    } catch (cause) {
      // Redis' message may quote the command, which contains session ids.
      const reason = cause instanceof Error ? (/^[A-Z]{3,20}\b/.exec(cause.message)?.[0] ?? cause.name) : ''
      throw new SessionPgsqlError('SERVER_DOWN', `The Redis command ${command} failed (${reason}).`, {
        cause,
      })
    }
  }
  const send = (...command: string[]): Promise<unknown> =>
    attempt(command[0] as string, client.send(...command))
  const get = async (key: string): Promise<unknown> => {
    if (!php) return send('GET', key)
    const bytes = await attempt('GET', client.getBytes(key))
    return bytes && bytesToText(bytes)
  }

  const fetch = async (keys: readonly string[]): Promise<SourceSession[]> => {
    const queriedAt = performance.now()
    const replies = await Promise.all(
      keys.map((key) => Promise.all([get(key).catch(unreadableIfWrongType), send('PTTL', key)])),
    )
    return replies.flatMap(([value, ttl], index): SourceSession[] => {
      // The key was deleted after SCAN returned it.
      if (value === null || Number(ttl) === NO_KEY) return []
      const id = (keys[index] as string).slice(prefix.length)
      const expires = Number(ttl) === NO_EXPIRY ? undefined : queriedAt + Number(ttl)
      return [{ id, text: String(value), expires }]
    })
  }

  return {
    name: `redis ${where} ${prefix}`,
    close: () => client.close(),
    async count() {
      const keys = await send('DBSIZE').catch(() => undefined)
      return keys === undefined ? undefined : Number(keys)
    },
    async *batches() {
      let cursor = '0'
      do {
        const [next, keys] = (await send(
          'SCAN',
          cursor,
          'MATCH',
          `${escapePattern(prefix)}*`,
          'COUNT',
          String(BATCH_SIZE),
        )) as [unknown, unknown[]]
        cursor = String(next)
        // SCAN may return a key more than once.
        const found = [...new Set(keys.map(String))].filter((key) => !(php && key.endsWith(PHP_LOCK)))
        for (let at = 0; at < found.length; at += CONCURRENCY) {
          yield await fetch(found.slice(at, at + CONCURRENCY))
        }
      } while (cursor !== '0')
    },
    async findLive(ids) {
      const exists = await Promise.all(ids.map((id) => send('EXISTS', prefix + id)))
      return new Set(ids.filter((_, index) => Number(exists[index]) === 1))
    },
  }
}

/** PTTL's replies for a key that does not exist, and for a key without a TTL. */
const NO_KEY = -2
const NO_EXPIRY = -1

/** The suffix that phpredis appends to the key of a session for its lock. */
const PHP_LOCK = '_LOCK'

/** Returns text that is neither JSON nor a session of PHP, and counts as unreadable, for a value that is not a string. */
function unreadableIfWrongType(error: unknown): string {
  const { cause } = error as { cause?: Error }
  if (!cause?.message?.startsWith('WRONGTYPE')) throw error
  return '!'
}

/** Escapes the special characters of a SCAN pattern. */
function escapePattern(prefix: string): string {
  return prefix.replaceAll(/[\\*?[\]^]/g, '\\$&')
}
