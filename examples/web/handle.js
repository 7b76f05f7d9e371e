import Bowser from 'bowser'
import { edited } from 'session-pgsql/testing'
import { createSessions } from 'session-pgsql/web'

/**
 * A site with Request and Response: `handle` is all that Bun, Deno, a service worker or Elysia need.
 *
 * @param {Partial<import('session-pgsql/web').SessionsOptions>} options of the sessions and their save handler
 * @param {(wait: string | undefined) => Promise<void>} pause called with the parameter `wait`: tests hold the request there
 * @param {(request: Request, connection: any) => string | undefined} [addressOf] returns the client's address; called with
 *   the arguments of `handle`, of which the runtime gives the second
 */
export function createHandle(options, pause, addressOf = () => undefined) {
  const sessions = createSessions({
    ...options,
    // For an example on your own machine. A real site needs a secret.
    secret: 'an example has no secrets',
  })

  async function handle(request, connection) {
    const session = await sessions.session(request, { address: addressOf(request, connection) })
    const { pathname, searchParams: query } = new URL(request.url)
    const key = query.get('key')
    let body = ''
    switch (`${request.method} ${pathname}`) {
      case 'GET /':
        session.set('visits', (session.get('visits') ?? 0) + 1)
        body = `Visit ${session.get('visits')}.\n`
        break
      case 'GET /read': {
        // Without what the site stores for the list of devices.
        const { agent: _, ...data } = session.data
        body = JSON.stringify(data)
        break
      }
      case 'POST /set':
        await pause(query.get('wait') ?? undefined)
        session.set(key, query.get('value'))
        break
      case 'POST /delete':
        await pause(query.get('wait') ?? undefined)
        session.delete(key)
        break
      case 'POST /edit':
        await pause(query.get('wait') ?? undefined)
        session.set(key, edited(session.get(key), query.get('path'), query.get('value')))
        break
      case 'POST /count': {
        await pause(query.get('wait') ?? undefined)
        session.set(query.get('also'), '1')
        // Atomic: of overlapping requests, each gets a number of its own.
        const { value } = await session.update((data) => {
          data[key] = Number(data[key] ?? 0) + 1
          return data[key]
        })
        body = String(value)
        break
      }
      case 'POST /sign-in':
        session.regenerate()
        session.set('user', query.get('user'))
        session.set('agent', request.headers.get('user-agent') ?? '')
        session.field = query.get('user')
        break
      case 'GET /devices':
        // Without the data: the page needs nothing else of it.
        body = JSON.stringify(
          (await session.devices()).map(({ data, ...device }) => ({ ...device, ...browserOf(data.agent) })),
        )
        break
      case 'POST /end-device':
        body = String(await session.endDevice(query.get('handle')))
        break
      case 'POST /sign-out':
        session.destroy()
        break
      default:
        return new Response('Not found.\n', { status: 404 })
    }
    const cookie = await session.commit()
    return new Response(body, { headers: cookie === undefined ? {} : { 'set-cookie': cookie.header } })
  }

  return { handle, sessions }
}

/** Returns the names of the browser and the operating system; undefined if they are not known. */
function browserOf(agent) {
  const { browser, os } = Bowser.parse(agent || 'unknown')
  return { browser: browser.name, os: os.name }
}

/** What the programs of this folder get from the environment. The tests set all but FOLDER and DATABASE_URL. */
export function fromEnvironment(environment, addressOf) {
  const { DATABASE_URL, FOLDER = '.demo', SESSION_OPTIONS = '{}', PAUSE_URL } = environment
  const options = { db: DATABASE_URL ?? `pglite:${FOLDER}`, ...JSON.parse(SESSION_OPTIONS) }
  const pause = async (wait) => {
    if (wait !== undefined && PAUSE_URL !== undefined) await fetch(PAUSE_URL + wait)
  }
  return createHandle(options, pause, addressOf)
}
