import '@adonisjs/session/session_middleware'
import type { HttpContext } from '@adonisjs/core/http'
import { defineConfig } from '@adonisjs/session'
import type { SessionStoreWithTaggingContract } from '@adonisjs/session/types'
import { type PgsqlStore, pgsqlStore, updateSession } from '../../src/adapters/adonis.ts'

/** Compiled, never run: the store fits AdonisJS' configuration and its contract with tags. */

const pgsql = pgsqlStore<{ user: string }>({ db: 'pglite:' })

export const config: unknown = defineConfig({ store: 'pgsql', stores: { pgsql } })

export function contract(store: PgsqlStore): SessionStoreWithTaggingContract {
  return store
}

export async function count(context: HttpContext): Promise<number | undefined> {
  const { value } = await updateSession(context, (data) => {
    data.visits = Number(data.visits ?? 0) + 1
    return data.visits as number
  })
  return value
}

export async function users(): Promise<string[]> {
  const found = await pgsql.handler.findByField('1')
  // @ts-expect-error there is no such key
  found[0]?.data.name
  return found.map(({ data }) => data.user)
}
