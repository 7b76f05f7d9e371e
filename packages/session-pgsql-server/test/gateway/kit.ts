import { phpBytesCodec, SaveHandler, type SaveHandlerOptions } from 'session-pgsql'
import { afterEach } from 'vitest'
import { startProxy } from '../../../session-pgsql/test/support/proxy.ts'
import type { FreshDatabase, TestServer } from '../../../session-pgsql/test/support/servers.ts'
import { boundedCodec, MAX_VALUES } from '../../src/gateway/bounded-codec.ts'
import { Gateway, type GatewayOptions } from '../../src/gateway/gateway.ts'
import { PHP_BYTES } from '../../src/gateway/wire-format.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { Talk } from './talk.ts'

export const DATA = 'user|s:3:"ada";n|i:1;'

/** SHA-1 of phpredis' script that releases a lock. */
export const UNLOCK = 'b70c2384248f88e6b75b9f89241a180f856ad852'

/** A gateway on 127.0.0.1 without password, TLS and time limits, with limits that tests can reach. */
export const DEFAULTS = {
  // Most tests write a session without reading it first.
  createUnread: true,
  host: '127.0.0.1',
  port: 0,
  password: undefined,
  tls: undefined,
  maxConnections: 100,
  maxValue: 100_000,
  idleTimeout: 0,
  healthPort: undefined,
} satisfies Partial<GatewayOptions>

type HandlerOptions = Pick<
  SaveHandlerOptions,
  'durableTouches' | 'expiryGrace' | 'maxLifetime' | 'operationTimeout'
>

/** Gateways in this process, over real sockets and a real database; each is closed after its test. */
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

  /**
   * @param url the database, if not the one that the tests of the suite share
   * @param handler options of the save handlers
   */
  async function start(options: Partial<GatewayOptions> = {}, url?: string, handler: HandlerOptions = {}) {
    const settings = {
      db: url ?? (await db()),
      idPattern: 'php',
      gcInterval: 0,
      operationTimeout: 3,
      ...handler,
    } satisfies SaveHandlerOptions
    // The gateway's own, as in `session-pgsql-server gateway`; and one of a program that reads PHP's values.
    const own = new SaveHandler({ ...settings, codec: boundedCodec(phpBytesCodec('php'), MAX_VALUES) })
    const sessions = new SaveHandler({ ...settings, codec: 'php' })
    const metrics = options.healthPort === undefined ? undefined : new Metrics(own)
    const gateway = new Gateway({
      ...DEFAULTS,
      sessions: own,
      wireFormat: PHP_BYTES,
      metrics,
      meter: metrics?.meter,
      ...options,
    })
    closing.push(
      () => sessions.close(),
      () => own.close(),
      async () => metrics?.close(),
      () => gateway.close(),
    )
    const { port, healthPort } = await gateway.listen()
    const talk = (): Talk => {
      const talk = new Talk(port)
      closing.push(async () => talk.end())
      return talk
    }
    return { sessions, own, gateway, port, healthPort, talk }
  }

  /** As `start`, with a proxy between the gateway and the database. */
  async function startBehindProxy(options: Partial<GatewayOptions> = {}) {
    const url = new URL(await db())
    const proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
    closing.push(() => proxy.stop())
    url.port = String(proxy.port)
    return { ...(await start(options, url.href)), proxy }
  }

  return {
    start,
    startBehindProxy,
    db,
    /** A key that no other test uses. */
    key: (): string => `PHPSESSID:${(count++).toString().padStart(26, 'k')}`,
    /** Runs a function after the test, before those that were passed earlier. */
    after: (close: () => Promise<unknown>) => closing.push(close),
  }
}
