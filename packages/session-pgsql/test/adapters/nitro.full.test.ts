import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../support/connect.ts'
import { describeOnEveryServer } from '../support/servers.ts'
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

/** Runs a program of Node until it ends. */
async function run(cwd: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, args, { cwd })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`${args.join(' ')}: ${output}`)
}

describeOnEveryServer(
  'Nitro',
  (server) => {
    test.each(['nitropack', 'nitro'] as const)(
      '%s stores sessions by the driver of its configuration',
      async (name) => {
        const { db, query } = await server.freshDatabase()
        const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-nitro-'))
        try {
          mkdirSync(join(folder, 'node_modules'))
          for (const installed of [name, 'session-pgsql'] as const) {
            symlinkSync(dirname(MANIFESTS[installed]), join(folder, 'node_modules', installed))
          }
          writeFileSync(join(folder, 'package.json'), '{"type":"module","private":true}')
          writeFileSync(
            join(folder, 'nitro.config.ts'),
            `${CONFIG[name]}{ serverDir: '.', storage: { sessions: { driver: 'session-pgsql/unstorage', base: 'app' } } })`,
          )
          mkdirSync(join(folder, 'routes'))
          writeFileSync(
            join(folder, 'routes', 'visit.ts'),
            `${ROUTES[name]}
          export default eventHandler(async (event) => {
            const sessions = useStorage('sessions')
            const { id } = getQuery(event)
            const { visits } = (await sessions.getItem(id)) ?? { visits: 0 }
            await sessions.setItem(id, { visits: visits + 1 }, { ttl: 3600 })
            return { visits: visits + 1, keys: await sessions.getKeys() }
          })`,
          )
          await run(folder, command(name), 'build')
          for (const visits of [1, 2]) {
            const port = await freePort()
            const child = spawn(process.execPath, [join(folder, '.output', 'server', 'index.mjs')], {
              cwd: folder,
              env: { ...process.env, PORT: String(port), HOST: '127.0.0.1', DATABASE_URL: db as string },
              stdio: ['ignore', 'inherit', 'inherit'],
            })
            const visit = () =>
              fetch(`http://127.0.0.1:${port}/visit?id=ada`).then(
                async (response) => `${response.status} ${await response.text()}`,
                () => undefined,
              )
            try {
              const answer = await until(visit, 'the server to listen')
              expect(answer).toMatch(/^200 /)
              expect(JSON.parse(answer.slice(4))).toEqual({ visits, keys: ['ada'] })
            } finally {
              const ended = once(child, 'exit')
              child.kill('SIGTERM')
              await ended
            }
          }
          expect(await query('SELECT sess_id, sess_name FROM php_session')).toEqual([
            { sess_id: 'app:ada', sess_name: 'unstorage' },
          ])
        } finally {
          rmSync(folder, { recursive: true, force: true })
        }
      },
    )
  },
  ['postgres'],
)
