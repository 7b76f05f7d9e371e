import type { Store } from 'express-session'
import { type SessionData, sessionData } from '../sessions.ts'
import { type Contestant, type ContestantOptions, NextData } from './contestant.ts'

/** A store of express-session's contract as a contestant. */
export function storeContestant(
  store: Store,
  options: ContestantOptions,
  close: () => Promise<void>,
): Contestant {
  const data = new NextData(sessionData(0, options.bytes))
  // The contract says SessionData, with a Cookie object in it; stores want what JSON makes of it as well.
  const as = (value: SessionData): never => value as never
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
          store.set(id, as(data.next()), (error) => (error ? reject(error) : resolve()))
        }),
      touch: (id) =>
        new Promise<void>((resolve, reject) => {
          store.touch?.(id, as(data.next()), ((error?: unknown) =>
            error ? reject(error) : resolve()) as () => void)
        }),
    },
    close,
  }
}
