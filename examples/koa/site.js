import Koa from 'koa'
import session from 'koa-session'
import { PgsqlStore } from 'session-pgsql/koa'
import { edited } from 'session-pgsql/testing'

/**
 * A small site with koa-session.
 *
 * @param options the store's options: `{ db }`
 * @param pause called with the parameter `wait`, to let requests overlap. Default: waits for so many milliseconds
 */
export async function createSite(options, pause = sleep, port = 0) {
  const store = new PgsqlStore(options)
  const app = new Koa()
  // For an example on your own machine. A real site needs secret keys.
  app.keys = ['example']
  app.silent = true
  app.use(session({ store, maxAge: 60 * 60 * 1000, renew: true, sameSite: 'lax' }, app))
  app.use(async (ctx) => {
    const { also, key, path, value, user, wait } = ctx.query
    switch (`${ctx.method} ${ctx.path}`) {
      case 'GET /':
      case 'GET /read':
        ctx.body = ctx.session.toJSON()
        return
      case 'POST /set':
        await pause(wait)
        ctx.session[key] = value
        break
      case 'POST /delete':
        await pause(wait)
        delete ctx.session[key]
        break
      case 'POST /edit':
        await pause(wait)
        ctx.session[key] = edited(ctx.session[key], path, value)
        break
      case 'POST /count': {
        await pause(wait)
        ctx.session[also] = '1'
        // Atomic: of overlapping requests, each gets a number of its own.
        const counted = await store.update(ctx, (data) => {
          data[key] = Number(data[key] ?? 0) + 1
          return data[key]
        })
        ctx.body = String(counted.value)
        return
      }
      case 'POST /sign-in':
        // A new id at the login: an attacker who knows the old id is not logged in.
        await ctx.session.regenerate()
        ctx.session.user = user
        break
      case 'POST /sign-out':
        ctx.session = null
        break
      default:
        ctx.throw(404)
    }
    ctx.body = 'done\n'
  })

  const server = await new Promise((listening) => {
    const started = app.listen(port, '127.0.0.1', () => listening(started))
  })
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    handler: store.handler,
    async stop() {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      await store.close()
    },
  }
}

function sleep(milliseconds = 0) {
  return new Promise((done) => setTimeout(done, Number(milliseconds)))
}
