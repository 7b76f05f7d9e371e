import { phpBytesCodec, SaveHandler, type SaveHandlerOptions } from 'session-pgsql'
import { afterEach } from 'vitest'
import type { FreshDatabase, TestServer } from '../../../session-pgsql/test/support/servers.ts'
import { Gateway, type GatewayOptions } from '../../src/gateway/gateway.ts'
import { PHP_BYTES } from '../../src/gateway/wire-format.ts'
import { Talk } from './talk.ts'

export const DATA = 'user|s:3:"ada";n|i:1;'

/** The SHA-1 of phpredis' script for giving back a lock. */
export const UNLOCK = 'b70c2384248f88e6b75b9f89241a180f856ad852'

/** Gateways in this process, over real sockets and a real database; what a test has begun ends with it. */
export function gateways(server: TestServer) {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
  let database: FreshDatabase | undefined
  let count = 0

  async function db(): Promise<string> {
    database ??= await server.freshDatabase()
    return database.db as string
  }

  /** @param where the database, if it is not the one that all tests of the suite share */
  async function start(options: Partial<GatewayOptions> = {}, where?: string) {
    const settings = {
      db: where ?? (await db()),
      idPattern: 'php',
      gcInterval: 0,
      operationTimeout: 3,
    } satisfies SaveHandlerOptions
    // As `session-pgsql-server gateway` has it; and beside it a program that reads PHP's values.
    const bytes = new SaveHandler({ ...settings, codec: phpBytesCodec('php') })
    const sessions = new SaveHandler({ ...settings, codec: 'php' })
    const gateway = new Gateway({
      sessions: bytes,
      wireFormat: PHP_BYTES,
      host: '127.0.0.1',
      port: 0,
      password: undefined,
      tls: undefined,
      maxConnections: 100,
      maxValue: 100_000,
      idleTimeout: 0,
      healthPort: undefined,
      ...options,
    })
    closing.push(
      () => sessions.close(),
      () => bytes.close(),
      () => gateway.close(),
    )
    const { port, healthPort } = await gateway.listen()
    const talk = (): Talk => {
      const talk = new Talk(port)
      closing.push(async () => talk.end())
      return talk
    }
    return { sessions, own: bytes, gateway, port, healthPort, talk }
  }

  return {
    start,
    db,
    /** A key that no other test uses. */
    key: (): string => `PHPSESSID:${(count++).toString().padStart(26, 'k')}`,
    /** Something to be done after the test, before what was begun earlier is ended. */
    after: (end: () => Promise<unknown>) => closing.push(end),
  }
}
