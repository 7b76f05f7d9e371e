import type { Store } from 'express-session'
import { type SessionData, sessionData } from '../sessions.ts'
import { type BenchStore, NextData, type StoreOptions } from './store.ts'

/** Adapts a store of express-session to the measurements. */
export function expressStore(store: Store, options: StoreOptions, close: () => Promise<void>): BenchStore {
  const data = new NextData(sessionData(0, options.bytes))
  // The contract requires SessionData with a Cookie object, but stores accept its JSON form as well.
  const asSession = (value: SessionData): never => value as never
  return {
    operations: {
      read: (id) =>
        new Promise<void>((resolve, reject) => {
          store.get(id, (error, session) => {
            if (error) reject(error)
            else if (session) resolve()
            else reject(new Error('A session is missing'))
          })
        }),
      write: (id) =>
        new Promise<void>((resolve, reject) => {
          store.set(id, asSession(data.next()), (error) => (error ? reject(error) : resolve()))
        }),
      touch: (id) =>
        new Promise<void>((resolve, reject) => {
          store.touch?.(id, asSession(data.next()), ((error?: unknown) =>
            error ? reject(error) : resolve()) as () => void)
        }),
    },
    close,
  }
}
