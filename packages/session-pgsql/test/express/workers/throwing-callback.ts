import type { SessionData } from 'express-session'
import { PgsqlStore } from '../../../src/adapters/express.ts'
import { until } from '../../support/wait.ts'

/** Calls every method with a callback that throws, and returns the process's uncaught errors. */
export default async function work({
  db,
}: {
  db: string
}): Promise<{ exceptions: string[]; rejections: string[] }> {
  const exceptions: string[] = []
  const rejections: string[] = []
  process.on('uncaughtException', (error) => exceptions.push(error.message))
  process.on('unhandledRejection', (reason) => rejections.push(String(reason)))

  const store = new PgsqlStore({ db, name: 'throwing', gcInterval: 0, operationTimeout: 60 })
  const data = { cookie: { originalMaxAge: null } } as SessionData
  const thrower = (name: string) => () => {
    throw new Error(name)
  }
  const steps: [string, (callback: () => void) => void][] = [
    ['get', (callback) => store.get('id', callback)],
    ['set', (callback) => store.set('id', data, callback)],
    ['touch', (callback) => store.touch('id', data, callback)],
    ['destroy', (callback) => store.destroy('id', callback)],
    ['all', (callback) => store.all(callback)],
    ['ids', (callback) => store.ids(callback)],
    ['length', (callback) => store.length(callback)],
    ['clear', (callback) => store.clear(callback)],
    ['get of nothing', (callback) => store.get(undefined as never, callback)],
  ]
  for (const [index, [name, step]] of steps.entries()) {
    step(thrower(name))
    await until(() => exceptions.length > index, name, 60_000)
  }
  // Without a callback, also on errors.
  store.set('id', data)
  store.set('an id with blanks', data)
  store.destroy('id')
  await store.close()
  await new Promise((resolve) => setImmediate(resolve))
  return { exceptions, rejections }
}
