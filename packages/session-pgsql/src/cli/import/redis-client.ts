import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SessionPgsqlError } from '../../errors.ts'

/** The part of a Redis client that the import uses. */
export interface RedisClient {
  /** Sends one command. Commands sent in the same tick are pipelined. */
  send(...command: string[]): Promise<unknown>
  /** Returns the bytes of a value; null if the key does not exist. */
  getBytes(key: string): Promise<Buffer | null>
  close(): Promise<void>
}

/** The part of node-redis (`redis` 4 and later) that is used. */
interface NodeRedis {
  createClient(options: object): {
    connect(): Promise<unknown>
    sendCommand(command: string[], options?: object): Promise<unknown>
    on(event: 'error', listener: () => void): unknown
    close?(): Promise<unknown>
    quit(): Promise<unknown>
  }
}

/** The part of `ioredis` that is used. */
interface Ioredis {
  default: new (
    url: string,
    options: object,
  ) => {
    connect(): Promise<void>
    call(...command: string[]): Promise<unknown>
    getBuffer(key: string): Promise<Buffer | null>
    on(event: 'error', listener: () => void): unknown
    quit(): Promise<unknown>
  }
}

/** Milliseconds. */
const CONNECT_TIMEOUT = 10_000

/**
 * Connects with the Redis client of the project in which the command runs: `redis`, otherwise `ioredis`.
 *
 * @throws SessionPgsqlError INVALID_OPTION without a client, SERVER_DOWN; the message never contains the URL, which may
 *   hold a password
 */
export async function connectRedis(url: string, folder: string = process.cwd()): Promise<RedisClient> {
  const connect = await findClient(folder)
  if (connect === undefined) {
    throw new SessionPgsqlError(
      'INVALID_OPTION',
      'Cannot import from Redis: the package redis or ioredis must be installed in the current directory. Run: npm install redis.',
    )
  }
  try {
    return await connect(url)
  } catch (cause) {
    const { code, name } = cause as { code?: string; name?: string }
    throw new SessionPgsqlError(
      'SERVER_DOWN',
      `Cannot connect to Redis (${code ?? name}). Check the address, user and password of --source or REDIS_URL.`,
      { cause },
    )
  }
}

/** Options of node-redis for replies as Buffers: up to version 4, and since version 5 by the type of the reply, `$`. */
const AS_BYTES = { returnBuffers: true, typeMapping: { 36: Buffer } }

async function connectNodeRedis({ createClient }: NodeRedis, url: string): Promise<RedisClient> {
  const client = createClient({
    url,
    socket: { connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: false },
  })
  // An error also rejects the command that was sent; an unhandled event would end the process.
  client.on('error', () => {})
  await client.connect()
  return {
    send: (...command) => client.sendCommand(command),
    getBytes: (key) => client.sendCommand(['GET', key], AS_BYTES) as Promise<Buffer | null>,
    close: async () => {
      await (client.close?.() ?? client.quit())
    },
  }
}

async function connectIoredis({ default: Redis }: Ioredis, url: string): Promise<RedisClient> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  client.on('error', () => {})
  await client.connect()
  return {
    send: (...command) => client.call(...command),
    getBytes: (key) => client.getBuffer(key),
    close: async () => {
      await client.quit()
    },
  }
}

const CLIENTS = { redis: connectNodeRedis, ioredis: connectIoredis }

/** Finds the client of the project, or one installed beside this package. */
async function findClient(folder: string): Promise<((url: string) => Promise<RedisClient>) | undefined> {
  for (const from of [join(folder, 'package.json'), import.meta.url]) {
    for (const [name, connect] of Object.entries(CLIENTS)) {
      let path: string
      try {
        path = createRequire(from).resolve(name)
      } catch {
        continue
      }
      const module = await import(pathToFileURL(path).href)
      return (url) => connect(module, url)
    }
  }
  return undefined
}
