import type { RequestHandler } from 'express'
import session, { type SessionData, type Store } from 'express-session'
import { expectTypeOf, test } from 'vitest'
import { PgsqlStore, type PgsqlStoreOptions, pgsqlSession, recordErrors } from '../../src/adapters/express.ts'
import { SaveHandler } from '../../src/index.ts'

declare module 'express-session' {
  interface SessionData {
    declared?: { since: number }
  }
}

interface MyData {
  cart: string[]
}

// This code never runs: the compiler checks it.
test('the types fit @types/express-session', () => {
  const check = (store: PgsqlStore, mine: PgsqlStore<MyData>): void => {
    expectTypeOf(store).toExtend<Store>()
    expectTypeOf(session({ store, secret: 's' })).toEqualTypeOf<RequestHandler>()
    session({ store: mine, secret: 's' })

    store.get('id', (_error, data) => {
      // Declaration merging.
      expectTypeOf(data?.declared).toEqualTypeOf<{ since: number } | undefined>()
    })
    mine.get('id', (_error, data) => {
      expectTypeOf(data?.cart).toEqualTypeOf<string[] | undefined>()
      expectTypeOf(data).toExtend<SessionData | null | undefined>()
    })
    mine.all((_error, all) => {
      expectTypeOf(all?.id?.cart).toEqualTypeOf<string[] | undefined>()
    })
    // @ts-expect-error: no cart is a number
    mine.set('id', { cookie: new session.Cookie(), cart: 7 })
    void mine.handler.read('id').then((record) => {
      expectTypeOf(record?.data.cart).toEqualTypeOf<string[] | undefined>()
      expectTypeOf(record?.data.cookie?.originalMaxAge).toEqualTypeOf<number | false | null | undefined>()
    })
    mine.ids((_error, ids) => expectTypeOf(ids).toEqualTypeOf<string[] | undefined>())

    const options: PgsqlStoreOptions<MyData> = {
      db: 'host=db',
      conflict: (ours, theirs) => ({ ...theirs, cart: [...(ours.cart ?? []), ...(theirs.cart ?? [])] }),
    }
    new PgsqlStore<MyData>(options)
    new PgsqlStore({ handler: new SaveHandler<MyData>() })
    // @ts-expect-error: a shared handler has its options already
    new PgsqlStore({ handler: new SaveHandler(), shortCircuit: true })
    // @ts-expect-error: no such option
    new PgsqlStore({ conString: 'postgres://' })
  }
  expectTypeOf(check).toBeFunction()

  const middleware: RequestHandler = (req, _res, next) => {
    expectTypeOf(pgsqlSession(req).getField()).toEqualTypeOf<string | null>()
    void pgsqlSession(req)
      .update((data) => {
        // Declaration merging.
        expectTypeOf(data.declared).toEqualTypeOf<{ since: number } | undefined>()
        // @ts-expect-error: the cookie is not the caller's
        expectTypeOf(data.cookie).toEqualTypeOf<undefined>()
        return data.declared?.since
      })
      .then(({ value }) => expectTypeOf(value).toEqualTypeOf<number | undefined>())
    void pgsqlSession<MyData>(req).update((data) => {
      expectTypeOf(data.cart).toEqualTypeOf<string[] | undefined>()
      // @ts-expect-error: no cart is a number
      data.cart = 7
    })
    next()
  }
  expectTypeOf(middleware).toBeFunction()
  const use: import('express').ErrorRequestHandler = recordErrors()
  expectTypeOf(use).toBeFunction()
})
