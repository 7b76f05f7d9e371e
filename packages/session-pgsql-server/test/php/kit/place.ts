import { randomBytes } from 'node:crypto'
import { afterAll, describe, inject, test } from 'vitest'
import { queryOnce } from '../../../../session-pgsql/test/support/connect.ts'
import { type PostgresServer, startPostgres } from '../../../../session-pgsql/test/support/postgres.ts'
import { addressOf } from '../../../../session-pgsql/test/support/servers.ts'
import type { SharedServer } from '../../../../session-pgsql/test/support/shared-servers.ts'
import { type Gateway, type GatewayOptions, startGateway } from './gateway.ts'
import { Php, type PhpOptions } from './php.ts'
import { phpMissing } from './program.ts'

/** Starts what the tests of a suite need, and stops it after them. */
export interface Place {
  php(options: PhpOptions): Promise<Php>
  gateway(options: GatewayOptions): Promise<Gateway>
  /** Returns the URL of a new, empty database on the server that all tests share. */
  database(): Promise<string>
  /** Runs a function after the tests, before those that were passed earlier. */
  after(end: () => Promise<unknown>): void
}

/** Defines a suite that needs real PHP with phpredis; without them it is skipped, with the reason. */
export function describeWithPhp(name: string, suite: (place: Place) => void): void {
  const missing = phpMissing() ?? serverMissing()
  describe(name, () => {
    if (missing !== undefined) {
      test(`needs PHP: ${missing}`, (ctx) => ctx.skip(missing))
      return
    }
    const ends: (() => Promise<unknown>)[] = []
    afterAll(async () => {
      for (const end of ends.reverse()) await end()
    })
    const keep = async <T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
      const started = await starting
      ends.push(() => started.stop())
      return started
    }
    suite({
      php: (options) => keep(Php.start(options)),
      gateway: (options) => keep(startGateway(options)),
      after: (end) => ends.push(end),
      async database() {
        const { url: server } = await addressOf(firstPostgres() as SharedServer)
        const database = `php_${randomBytes(6).toString('hex')}`
        await queryOnce(server, `CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`)
        ends.push(() => queryOnce(server, `DROP DATABASE IF EXISTS ${database} WITH (FORCE)`))
        const url = new URL(server)
        url.pathname = `/${database}`
        return url.href
      },
    })
  })
}

/** What a site of a framework runs on. */
export interface Site {
  /** A server of its own, which a test may stop. */
  readonly server: PostgresServer
  readonly gateway: Gateway
  readonly php: Php
}

/** Starts a site whose framework sends its sessions to the gateway itself: PHP's own sessions are not used. */
export async function startSite(
  place: Place,
  { argv, workers }: { argv: readonly string[]; workers: number },
): Promise<Site> {
  const server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
  place.after(() => server.remove())
  const env = { SESSION_PGSQL_OPERATION_TIMEOUT: '2' }
  const gateway = await place.gateway({ db: server.url(), argv, env })
  // Notices of old frameworks that their code is deprecated in a new PHP are ignored.
  const php = await place.php({ ini: { error_reporting: 32767 & ~8192 & ~16_384 }, workers })
  return { server, gateway, php }
}

function firstPostgres(): SharedServer | undefined {
  return inject('sharedServers').find(({ kind }) => kind === 'postgres')
}

function serverMissing(): string | undefined {
  return firstPostgres() === undefined
    ? 'SESSION_PGSQL_TEST_SERVERS contains no PostgreSQL server'
    : undefined
}
