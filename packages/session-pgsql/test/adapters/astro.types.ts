import type { APIContext, MiddlewareHandler } from 'astro'
import { defineConfig } from 'astro/config'
import pgsqlSessionDriver, { onRequest, type PgsqlSessionDriver } from '../../src/adapters/astro.ts'

/** Compiled, never run: the driver and the middleware fit Astro. */

export const config: unknown = defineConfig({
  session: { driver: { entrypoint: 'session-pgsql/astro', config: { field: 'user' } } },
})

export const middleware: MiddlewareHandler = onRequest

const driver: PgsqlSessionDriver = pgsqlSessionDriver({ db: 'pglite:', field: 'user' })

export async function POST({ session }: APIContext): Promise<Response> {
  if (session === undefined) return new Response(null, { status: 500 })
  const { value } = await driver.update(session, (data) => {
    data.visits = Number(data.visits ?? 0) + 1
    return data.visits as number
  })
  await driver.destroy(session)
  return new Response(value?.toFixed())
}

// @ts-expect-error the field is the name of a key
pgsqlSessionDriver({ field: 7 })
