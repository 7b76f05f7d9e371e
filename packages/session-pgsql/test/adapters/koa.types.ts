import Koa from 'koa'
import session from 'koa-session'
import { PgsqlStore } from '../../src/adapters/koa.ts'
import { SaveHandler } from '../../src/index.ts'

/** Compiled, never run: the store fits koa-session, and the type of the data is kept. */

interface Data {
  user: string
}

const store = new PgsqlStore<Data>({ db: 'pglite:' })
session({ store, maxAge: 'session' }, new Koa())

new Koa().use(async (ctx) => {
  store.setField(ctx, '7')
  // @ts-expect-error the field is text
  store.setField(ctx, 7)
  const { value } = await store.update(ctx, (data) => {
    // @ts-expect-error a user is no number
    data.user = 7
    data.user = 'ada'
    return data.user.length
  })
  const length: number | undefined = value
  ctx.body = String(length)
})

export async function users(): Promise<(string | undefined)[]> {
  const sessions = await store.handler.findByField('1')
  // @ts-expect-error there is no such key
  sessions[0]?.data.name
  return sessions.map(({ data }) => data.user)
}

export const shared: PgsqlStore<Data> = new PgsqlStore<Data>({ handler: new SaveHandler<Data>() })

// @ts-expect-error no such option
export const misspelt: PgsqlStore = new PgsqlStore({ gcIntervall: 1 })
