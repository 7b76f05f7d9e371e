import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SessionPgsqlError } from '../../errors.ts'

/** The little of Redis that is needed, by whichever client the project has. */
export interface RedisClient {
  /** Sends one command. What is sent at the same time travels together. */
  send(...command: string[]): Promise<unknown>
  close(): Promise<void>
}

/** node-redis (`redis` 4 and later), as a structure. */
interface NodeRedis {
  createClient(options: object): {
    connect(): Promise<unknown>
    sendCommand(command: string[]): Promise<unknown>
    on(event: 'error', listener: () => void): unknown
    close?(): Promise<unknown>
    quit(): Promise<unknown>
  }
}

/** `ioredis`, as a structure. */
interface Ioredis {
  default: new (
    url: string,
    options: object,
  ) => {
    connect(): Promise<void>
    call(...command: string[]): Promise<unknown>
    on(event: 'error', listener: () => void): unknown
    quit(): Promise<unknown>
  }
}

/** Milliseconds. */
const CONNECT_TIMEOUT = 10_000

/**
 * Connects with the client of the project in which the command is run: `redis`, else `ioredis`.
 *
 * @throws SessionPgsqlError without the URL, which may hold a password
 */
export async function connectRedis(url: string, folder: string = process.cwd()): Promise<RedisClient> {
  const connect = await findClient(folder)
  if (connect === undefined) {
    throw new SessionPgsqlError(
      'INVALID_OPTION',
      'To read from Redis one of the packages redis and ioredis is needed in the folder where this command runs: npm install redis.',
    )
  }
  try {
    return await connect(url)
  } catch (cause) {
    const { code, name } = cause as { code?: string; name?: string }
    throw new SessionPgsqlError(
      'SERVER_DOWN',
      `Redis cannot be reached, or does not let this user in (${code ?? name}). Is --source right?`,
      { cause },
    )
  }
}

async function byNodeRedis({ createClient }: NodeRedis, url: string): Promise<RedisClient> {
  const client = createClient({
    url,
    socket: { connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: false },
  })
  // What goes wrong is the rejection of what was sent.
  client.on('error', () => {})
  await client.connect()
  return {
    send: (...command) => client.sendCommand(command),
    close: async () => {
      await (client.close?.() ?? client.quit())
    },
  }
}

async function byIoredis({ default: Redis }: Ioredis, url: string): Promise<RedisClient> {
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
    close: async () => {
      await client.quit()
    },
  }
}

const CLIENTS = { redis: byNodeRedis, ioredis: byIoredis }

/** The project's client, else one beside this package. */
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
