import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Browser } from '../../src/testing/browser.ts'
import { freePort } from '../support/connect.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'

/**
 * An application of Nitro, configured as its documentation says, with the package as npm installs it: built, started,
 * and started again. `npm run build` comes first, as for all full tests.
 */

const ROUTES = {
  // Version 2 imports these names itself.
  nitropack: '',
  nitro:
    "import { defineHandler as eventHandler, getQuery } from 'nitro/h3'\nimport { useStorage } from 'nitro/storage'\n",
}

const CONFIG = {
  nitropack: 'export default defineNitroConfig(',
  nitro: "import { defineConfig } from 'nitro/config'\nexport default defineConfig(",
}

const require = createRequire(import.meta.url)

const MANIFESTS = {
  nitropack: require.resolve('nitropack/package.json'),
  nitro: require.resolve('nitro/package.json'),
  'session-pgsql': require.resolve('session-pgsql/package.json'),
}

/** The path of the command of an installed package. */
function command(name: 'nitropack' | 'nitro'): string {
  const manifest = MANIFESTS[name]
  return join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin[name])
}

const docs = readFileSync(join(import.meta.dirname, '../../../../docs/h3.md'), 'utf8')

/** Returns a file that docs/h3.md shows, with its path, and its secret from the tests. */
function page(path: string): [string, string][] {
  const [, code] = docs.split(`\`${path}\`:\n\n\`\`\`ts\n`)[1]?.match(/^([\s\S]*?)```/) ?? []
  if (code === undefined) throw new Error(`docs/h3.md does not show ${path}`)
  return [[path, code.replace('process.env.SESSION_SECRET', "'a secret for the tests'")]]
}

/** Runs a program of Node until it ends. */
async function run(cwd: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, args, { cwd })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`${args.join(' ')}: ${output}`)
}

/** Builds an application of Nitro with these files besides its configuration. */
async function build(
  name: keyof typeof CONFIG,
  options: string,
  files: Record<string, string>,
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-nitro-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'node_modules'))
  for (const installed of [name, 'session-pgsql'] as const) {
    symlinkSync(dirname(MANIFESTS[installed]), join(folder, 'node_modules', installed))
  }
  const all = {
    'package.json': '{"type":"module","private":true}',
    'nitro.config.ts': `${CONFIG[name]}{ serverDir: '.', ${options} })`,
    ...files,
  }
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  await run(folder, command(name), 'build')
  return folder
}

/** Starts the application, calls `visit` with its URL until the server listens, and stops it. */
async function visited<T>(
  folder: string,
  db: FreshDatabase['db'],
  visit: (url: string) => Promise<T>,
): Promise<T> {
  const port = await freePort()
  const child = spawn(process.execPath, [join(folder, '.output', 'server', 'index.mjs')], {
    cwd: folder,
    env: { ...process.env, PORT: String(port), HOST: '127.0.0.1', DATABASE_URL: db as string },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  try {
    await until(() => fetch(url).catch(() => undefined), 'the server to listen')
    return await visit(url)
  } finally {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  }
}

describeOnEveryKind(
  'Nitro',
  (server) => {
    test.each(['nitropack', 'nitro'] as const)(
      '%s stores items by the driver of its configuration',
      async (name) => {
        const { db, query } = await server.freshDatabase()
        const folder = await build(
          name,
          `storage: { sessions: { driver: 'session-pgsql/unstorage', base: 'app' } }`,
          {
            'routes/visit.ts': `${ROUTES[name]}
              export default eventHandler(async (event) => {
                const sessions = useStorage('sessions')
                const { id } = getQuery(event)
                const { visits } = (await sessions.getItem(id)) ?? { visits: 0 }
                await sessions.setItem(id, { visits: visits + 1 }, { ttl: 3600 })
                return { visits: visits + 1, keys: await sessions.getKeys() }
              })`,
          },
        )
        for (const visits of [1, 2]) {
          const response = await visited(folder, db, (url) =>
            fetch(`${url}/visit?id=ada`).then((r) => r.json()),
          )
          expect(response).toEqual({ visits, keys: ['ada'] })
        }
        expect(await query('SELECT sess_id, sess_name FROM php_session')).toEqual([
          { sess_id: 'app:ada', sess_name: 'unstorage' },
        ])
      },
    )

    test.each(['nitropack', 'nitro'] as const)(
      '%s has the sessions of session-pgsql/h3 as docs/h3.md shows them',
      async (name) => {
        const { db, query } = await server.freshDatabase()
        const commit = {
          nitropack: page('server/plugins/session.ts').map(([path, text]) => [
            path.replace('server/', ''),
            text,
          ]),
          nitro: page('middleware/session.ts'),
        }[name]
        const folder = await build(name, '', {
          ...Object.fromEntries([...page('utils/sessions.ts'), ...commit]),
          'routes/visit.ts': `${ROUTES[name].replace(/^.*nitro\/storage.*$/m, '')}
            import { sessions } from '../utils/sessions'
            export default eventHandler(async (event) => {
              const session = await sessions.session(event)
              session.set('visits', (session.get('visits') ?? 0) + 1)
              return { visits: session.get('visits'), wait: getQuery(event).wait }
            })`,
        })
        const counted = await visited(folder, db, async (url) => {
          const visitor = new Browser(url)
          const first = await visitor.send('GET', '/visit')
          return [first.text, (await visitor.send('GET', '/visit')).text]
        })
        expect(counted.map((text) => JSON.parse(text).visits)).toEqual([1, 2])
        expect(await query('SELECT sess_data, sess_addr_created FROM php_session')).toEqual([
          { sess_data: '{"visits":2}', sess_addr_created: '127.0.0.1' },
        ])
      },
    )
  },
  ['postgres'],
)
