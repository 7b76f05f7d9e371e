import { SessionPgsqlError } from '../../errors.ts'
import type { RedisClient } from './redis-client.ts'
import { PART, type Source, type SourceSession } from './source.ts'

/** Keys whose values are fetched at a time: Redis does not say beforehand how long they are. */
const AT_ONCE = 100

/**
 * connect-redis' keys: a prefix and the id, JSON, and the key's own time to live. They are found by SCAN, which
 * holds up nobody and names every key that is there from its beginning to its end.
 *
 * @param where host, port and database, for the source's name
 */
export function redisSource(client: RedisClient, where: string, prefix: string): Source {
  const send = async (...command: string[]): Promise<unknown> => {
    try {
      return await client.send(...command)
    } catch (cause) {
      // What Redis answers may quote what was sent, with the ids of sessions.
      const word = cause instanceof Error ? (/^[A-Z]{3,20}\b/.exec(cause.message)?.[0] ?? cause.name) : ''
      throw new SessionPgsqlError('SERVER_DOWN', `Redis refused ${command[0]}, or went away (${word}).`, {
        cause,
      })
    }
  }

  const fetch = async (keys: readonly string[]): Promise<SourceSession[]> => {
    const asked = performance.now()
    const answers = await Promise.all(
      keys.map((key) => Promise.all([send('GET', key).catch(notText), send('PTTL', key)])),
    )
    return answers.flatMap(([value, ttl], index): SourceSession[] => {
      // Gone since it was found.
      if (value === null || Number(ttl) === GONE) return []
      const id = (keys[index] as string).slice(prefix.length)
      const expires = Number(ttl) === ENDLESS ? undefined : asked + Number(ttl)
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
    async *parts() {
      let cursor = '0'
      do {
        const [next, keys] = (await send(
          'SCAN',
          cursor,
          'MATCH',
          `${escaped(prefix)}*`,
          'COUNT',
          String(PART),
        )) as [unknown, unknown[]]
        cursor = String(next)
        // SCAN may name a key more than once.
        const found = [...new Set(keys.map(String))]
        for (let at = 0; at < found.length; at += AT_ONCE) {
          yield await fetch(found.slice(at, at + AT_ONCE))
        }
      } while (cursor !== '0')
    },
    async alive(ids) {
      const there = await Promise.all(ids.map((id) => send('EXISTS', prefix + id)))
      return new Set(ids.filter((_, index) => Number(there[index]) === 1))
    },
  }
}

/** PTTL's answers for a key that is not there, and for one without a time to live. */
const GONE = -2
const ENDLESS = -1

/** A value that is no string is no session of connect-redis: what stands for it does not read as JSON. */
function notText(error: unknown): string {
  const { cause } = error as { cause?: Error }
  if (!cause?.message?.startsWith('WRONGTYPE')) throw error
  return ''
}

/** For a pattern of SCAN, in which these characters mean something. */
function escaped(prefix: string): string {
  return prefix.replaceAll(/[\\*?[\]^]/g, '\\$&')
}
