import { createHash, randomBytes } from 'node:crypto'
import type { SaveHandler } from '../../src/index.ts'
import { edited } from '../../src/testing/edit.ts'
import { listen } from '../express/site.ts'
import type { AdapterDriver, Pause, Site } from './guarantees.ts'

/** A key-value storage with lifetimes in seconds, as of unstorage and better-auth. */
export interface KeyValueStore {
  // biome-ignore lint/suspicious/noExplicitAny: data of any adapter
  readonly handler: SaveHandler<any>
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttl: number): Promise<void>
  remove(key: string): Promise<void>
  close(): Promise<void>
}

/** Keys that visitors can choose, and keys like those under which other keys are stored. */
export function strangeKeys(unique: string): string[] {
  const long = `127.0.0.1|/${'x'.repeat(600)}${unique}`
  return [
    long,
    `${long}y`,
    `/${'x'.repeat(10_000)}${unique}`,
    `ключ ${'ä'.repeat(600)}${unique}`,
    `a\0b${unique}`,
    `a\0c${unique}`,
    `a\ud800${unique}`,
    `a\ud801${unique}`,
    `a b/${unique}?x=1`,
    `sha256-${'A'.repeat(43)}`,
    `sha256-${createHash('sha256').update(JSON.stringify(long)).digest('base64url')}`,
    '',
  ]
}

const LIFETIME = 3600

const NO_UPDATE = 'The storage has no atomic update'
const LAST_WINS = 'A set does not say which value it started from, or whether it creates'

/** Returns a driver that stores sessions as applications do in such a storage: each write replaces all of the data. */
export function keyValueDriver(
  name: string,
  open: (options: Parameters<AdapterDriver['start']>[0]) => KeyValueStore,
): AdapterDriver {
  return {
    name,
    lifetime: LIFETIME,
    cannot: {
      ...Object.fromEntries(
        [
          ...['two-keys', 'two-processes', 'ten-keys', 'deleted-key', 'deletion-first'],
          ...['sign-out', 'sign-out-processes', 'new-id-slow', 'expired-slow'],
          ...[
            'list-added',
            'list-begun',
            'list-removed',
            'list-removed-last',
            'list-emptied',
            'list-deleted',
          ],
          ...['list-elements', 'two-fields'],
        ].map((id) => [id, LAST_WINS]),
      ),
      ...Object.fromEntries(['counter', 'counter-ended'].map((id) => [id, NO_UPDATE])),
      activity: 'The lifetime of an item starts at its last set',
    },
    start: (options, pause) => startSite(open(options), pause),
  }
}

async function startSite(store: KeyValueStore, pause: Pause): Promise<Site> {
  const { url, close } = await listen(async (request, response) => {
    try {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
      const [, id = ''] = /sid=([\w-]+)/.exec(request.headers.cookie ?? '') ?? []
      const before = id === '' ? null : await store.get(id)
      const parameters = Object.fromEntries(searchParams)
      if (pathname !== '/sign-in') await pause(parameters.wait)
      const after = changed(pathname, before, parameters)
      let kept = before === null || pathname === '/sign-in' ? '' : id
      if (after !== before) {
        if (kept === '' && id !== '') await store.remove(id)
        if (after === null) await store.remove(kept)
        else {
          kept ||= randomBytes(24).toString('base64url')
          await store.set(kept, after, LIFETIME)
          response.setHeader('set-cookie', `sid=${kept}; Path=/`)
        }
      }
      response.end(after ?? '{}')
    } catch {
      response.statusCode = 500
      response.end()
    }
  })
  return {
    url,
    handler: store.handler,
    async stop() {
      await close()
      await store.close()
    },
  }
}

/** Returns the session's text after a request; null if there is no session. */
function changed(path: string, before: string | null, parameters: Record<string, string>): string | null {
  const data = JSON.parse(before ?? '{}')
  const { key = '', value, user } = parameters
  if (path === '/sign-out') return null
  if (path === '/sign-in') return JSON.stringify({ user })
  if (path === '/set') return JSON.stringify({ ...data, [key]: value })
  if (path === '/edit') {
    data[key] = edited(data[key], parameters.path, value)
    return JSON.stringify(data)
  }
  if (path !== '/delete') return before
  delete data[key]
  return JSON.stringify(data)
}
