/** Replaces React Router's session storages in memory and in files. */
import { SaveHandler } from 'session-pgsql'
import { createPgsqlSessionStorage } from 'session-pgsql/react-router'
import { database } from './vitest.mjs'

const handler = new SaveHandler({ db: await database(), gcInterval: 0 })

export function createMemorySessionStorage({ cookie } = {}) {
  return createPgsqlSessionStorage({ handler, cookie })
}

export function createFileSessionStorage({ cookie } = {}) {
  return createPgsqlSessionStorage({ handler, cookie })
}

export const getFile = undefined
