import { type ChildProcess, spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Pool as NeonPool, neon } from '@neondatabase/serverless'
import { drizzle as drizzleNeonHttp } from 'drizzle-orm/neon-http'
import { drizzle as drizzleNeon } from 'drizzle-orm/neon-serverless'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { drizzle as drizzlePostgresJs } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { databaseEntries } from '../../src/settings/database-entries.ts'
import { Browser } from '../../src/testing/browser.ts'
import { bin, createProject, type Project, pack } from '../packaging/consumer.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { blockFinder } from './blocks.ts'
import { startPasted } from './pasted-site.ts'

/** The blocks of docs/recipes.md, as pasted, in a project with the packed package. */

const docs = join(import.meta.dirname, '../../../../docs')
const recipe = blockFinder(join(docs, 'recipes.md'))
const readme = blockFinder(join(docs, '../README.md'))

const PACKAGES = [
  'express',
  'passport',
  'passport-local',
  'drizzle-orm',
  'kysely',
  'knex',
  '@prisma/adapter-pg',
]

/** Prisma generates the client, with a program that it downloads. Its driver adapter is what shares the pool. */
const PRISMA_CLIENT = `export class PrismaClient {
  #connected
  constructor({ adapter }) { this.#connected = adapter.connect() }
  async $queryRawUnsafe(sql) {
    const { columnNames, rows } = await (await this.#connected).queryRaw({ sql, args: [], argTypes: [] })
    return rows.map((row) => Object.fromEntries(row.map((value, index) => [columnNames[index], value])))
  }
  async $disconnect() { await (await this.#connected).dispose() }
}`

/** How each ORM counts the sessions. */
const COUNT = 'SELECT count(*)::int AS n FROM php_session'
const QUERIES: Record<string, string> = {
  Drizzle: `(await db.execute('${COUNT}')).rows`,
  Prisma: `await prisma.$queryRawUnsafe('${COUNT}')`,
  Kysely: `await db.selectFrom('php_session').select(({ fn }) => fn.countAll().as('n')).execute()`,
  Knex: `await db('php_session').count({ n: '*' })`,
}

describeOnEveryServer(
  'docs/recipes.md',
  (server) => {
    let packed: Awaited<ReturnType<typeof pack>>
    let project: Project
    let database: FreshDatabase
    let site: ChildProcess | undefined
    let port: number

    beforeAll(async () => {
      packed = await pack()
      project = await createProject(packed.tarball, { type: 'module' }, PACKAGES)
      database = await server.freshDatabase()
      const command = join(project.folder, 'node_modules/.bin')
      await mkdir(command)
      await symlink(join('../session-pgsql', bin['session-pgsql']), join(command, 'session-pgsql'))
    })

    afterEach(() => site?.kill('SIGKILL'))

    afterAll(async () => {
      await project?.remove()
      await packed?.remove()
    })

    const environment = (): Record<string, string> => ({
      DATABASE_URL: database.db as string,
      SESSION_SECRET: 'a secret for the tests',
    })

    /** Starts a site that listens on port 3000 in its code, and returns when it serves requests. */
    async function start(code: string): Promise<ChildProcess> {
      const started = await startPasted(project, code, environment())
      port = started.port
      site = started.site
      return site
    }

    const browser = () => new Browser(`http://localhost:${port}`)

    test.each(Object.keys(QUERIES))('shares the database with %s', async (tool) => {
      const code = recipe(new RegExp(tool), 'js').replace('client.ts', 'client.mjs')
      await mkdir(join(project.folder, 'generated/prisma'), { recursive: true })
      await project.write('generated/prisma/client.mjs', PRISMA_CLIENT)
      await project.write('db.mjs', code)
      await project.write(
        'main.mjs',
        `import * as tool from './db.mjs'
        const { db, prisma, store, close } = tool
        await store.handler.open()
        const id = store.handler.createId()
        await store.handler.write(id, {}, { base: null })
        const before = ${QUERIES[tool]}
        await store.handler.destroy(id)
        const after = ${QUERIES[tool]}
        console.log(before[0].n - after[0].n)
        await close()`,
      )
      // The process ends by itself only if nothing is left open.
      expect(await project.node(['main.mjs'], environment())).toBe('1\n')
    })

    test("accepts the $client of Drizzle's other drivers, but not that of neon-http", async () => {
      const accept = (client: unknown) => databaseEntries('option db', client as never, {})[0]?.kind
      const sql = postgres(database.db as string)
      expect(accept(drizzlePglite().$client)).toBe('pglite')
      expect(accept(drizzleNeon(new NeonPool({ connectionString: database.db as string })).$client)).toBe(
        'pool',
      )
      expect(accept(drizzlePostgresJs(sql).$client)).toBe('poolConfig')
      expect(() => accept(drizzleNeonHttp(neon('postgresql://user:password@neon/db')).$client)).toThrow(
        /neon\(\)/,
      )
      await sql.end()
    })

    describe('Passport', () => {
      const USERS = `const users = [{ id: 'u1', name: 'Ada', password: 'right' }]
        export const findUser = async (id) => users.find((user) => user.id === id)
        export const findUserByPassword = async (name, password) =>
          users.find((user) => user.name === name && user.password === password)`
      const login = (password: string, visitor: Browser) =>
        visitor.send('POST', '/login', new URLSearchParams({ username: 'Ada', password }))
      const fields = async () =>
        (await database.query('SELECT sess_custom FROM php_session')).map(({ sess_custom }) => sess_custom)

      const startSite = async (more = '') => {
        await database.query('DROP TABLE IF EXISTS php_session')
        await project.write('users.mjs', USERS)
        await start(recipe(/^Passport$/, 'js').replace('app.listen', `${more}\napp.listen`))
      }

      test('logs in with a new id and the custom field, and logs out', async () => {
        await startSite()
        const visitor = browser()
        await login('wrong', visitor)
        expect((await visitor.send('GET', '/')).text).toBe('Please log in')
        await login('right', visitor)
        expect((await visitor.send('GET', '/')).text).toBe('Hello Ada')
        expect(await fields()).toEqual(['u1'])
        const fixed = visitor.clone()
        await login('right', visitor)
        expect((await fixed.send('GET', '/')).text).toBe('Please log in')
        expect((await visitor.send('GET', '/')).text).toBe('Hello Ada')
        await visitor.send('POST', '/logout')
        expect((await visitor.send('GET', '/')).text).toBe('Please log in')
        expect(await fields()).toEqual([null])
      })

      test('logs out on every device', async () => {
        await startSite()
        const [laptop, phone] = [browser(), browser()]
        await Promise.all([laptop, phone].map((visitor) => login('right', visitor)))
        await phone.send('POST', '/logout-everywhere')
        expect((await laptop.send('GET', '/')).text).toBe('Please log in')
        expect((await phone.send('GET', '/')).text).toBe('Please log in')
      })

      test('does not restore a session that was logged out during a request', async () => {
        await startSite(`let finish
          app.get('/slow', (req, res) => {
            req.session.late = true
            finish = () => res.send(req.user.name)
          })
          app.get('/is-waiting', (req, res) => res.json(finish !== undefined))
          app.post('/finish', (req, res) => { finish(); res.end() })`)
        const visitor = browser()
        await login('right', visitor)
        const slow = visitor.clone()
        const other = slow.clone()
        const answer = slow.send('GET', '/slow')
        await until(
          async () => (await browser().send('GET', '/is-waiting')).text === 'true',
          'the slow request',
        )
        await visitor.send('POST', '/logout')
        await browser().send('POST', '/finish')
        expect((await answer).text).toBe('Ada')
        expect((await other.send('GET', '/')).text).toBe('Please log in')
        expect(await fields()).toEqual([null])
      })

      test('keeps the data of the session with keepSessionInfo', async () => {
        await startSite(`app.post('/cart', (req, res) => { req.session.cart = ['book']; res.end() })
          app.get('/cart', (req, res) => res.json(req.session.cart ?? []))
          app.post('/login-and-keep', passport.authenticate('local', { successRedirect: '/', keepSessionInfo: true }))`)
        const visitor = browser()
        await visitor.send('POST', '/cart')
        const form = new URLSearchParams({ username: 'Ada', password: 'right' })
        await visitor.send('POST', '/login-and-keep', form)
        expect((await visitor.send('GET', '/')).text).toBe('Hello Ada')
        expect((await visitor.send('GET', '/cart')).text).toBe('["book"]')
        expect(await fields()).toEqual(['u1'])
      })
    })

    test('finishes and saves the requests in progress after SIGTERM', async () => {
      const listen = /^app\.listen[\s\S]*/m
      const shutdown = recipe(/^Graceful shutdown$/, 'js')
      const app = readme(/Get started/, 'js')
      expect(app).toMatch(listen)
      const slow = `process.once('SIGTERM', () => setImmediate(() => finish()))
        let finish
        app.get('/slow', (req, res) => {
          req.session.saved = true
          finish = () => res.send('answered')
          process.kill(process.pid, 'SIGTERM')
        })`
      await database.query('DROP TABLE IF EXISTS php_session')
      const started = await start(app.replace(listen, `${slow}\n${shutdown}`))
      const { healthcheck } = composeFile().services.app
      const [, program, ...args] = healthcheck.test.map((word: string) => word.replace('3000', String(port)))
      expect(program).toBe('node')
      expect(spawnSync(process.execPath, args).status).toBe(0)
      const visitor = browser()
      expect((await visitor.send('GET', '/slow')).text).toBe('answered')
      await until(() => started.exitCode !== null || started.signalCode !== null, 'the site to end')
      expect([started.exitCode, started.signalCode]).toEqual([0, null])
      const [row] = await database.query<{ sess_data: Buffer }>('SELECT sess_data FROM php_session')
      expect(String(row?.sess_data)).toContain('"saved":true')
      expect(spawnSync(process.execPath, args).status).not.toBe(0)
    })

    /** The file of Docker Compose, with values for its variables. */
    function composeFile() {
      const values: Record<string, string> = { POSTGRES_PASSWORD: 'password', SESSION_SECRET: 'secret' }
      const text = recipe(/^Docker Compose$/, 'yaml').replaceAll(
        /\$\{(\w+):\?\}/g,
        (_, name) => values[name] ?? '',
      )
      return parse(text)
    }

    test('starts the application of the Compose file after its database', () => {
      const { services, volumes } = composeFile()
      const { app, db } = services
      expect(app.depends_on).toEqual({ db: { condition: 'service_healthy' } })
      expect(db.healthcheck.test.slice(0, 2)).toEqual(['CMD', 'pg_isready'])
      expect(db.volumes.map((volume: string) => volume.split(':')[0])).toEqual(Object.keys(volumes))
      const { POSTGRES_USER: user, POSTGRES_PASSWORD: password } = db.environment
      const [entry] = databaseEntries('DATABASE_URL', app.environment.DATABASE_URL, {})
      expect(entry).toMatchObject({
        conninfo: { user, password, database: user, hosts: [{ host: 'db', port: 5432 }] },
      })
      expect(db.healthcheck.test.at(-1)).toBe(user)
      expect(recipe(/^Docker Compose$/, 'dockerfile')).toMatch(/^CMD \["node", "app\.mjs"\]$/m)
    })

    test('describes a unit that systemd accepts', async (context) => {
      if (spawnSync('systemd-analyze', ['--version']).error)
        context.skip('no systemd-analyze on this machine')
      const unit = recipe(/^systemd$/, 'ini').replace('/usr/bin/node', process.execPath)
      const path = await project.write('myapp.service', unit)
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
        encoding: 'utf8',
      })
      expect([status, stderr]).toEqual([0, ''])
      // systemd only warns about a key that it does not know.
      const broken = await project.write('broken.service', unit.replace('Restart=', 'Restarts='))
      const warned = spawnSync('systemd-analyze', ['verify', '--man=no', broken], { encoding: 'utf8' })
      expect(warned.stderr).toContain('Restarts')
    })

    test('collects garbage with the command of the CronJob', async () => {
      const { kind, spec } = parse(recipe(/CronJob/, 'yaml'))
      expect(kind).toBe('CronJob')
      const { restartPolicy, containers } = spec.jobTemplate.spec.template.spec
      expect(restartPolicy).toBe('Never')
      const [{ command, env }] = containers
      const names = env.map(({ name }: { name: string }) => name)
      expect(Object.keys(environment())).toEqual(expect.arrayContaining(names))
      const variables = Object.fromEntries(names.map((name: string) => [name, environment()[name]]))
      await project.node(['node_modules/.bin/session-pgsql', 'init'], environment())
      await database.query('DELETE FROM php_session')
      await project.write(
        'expired.mjs',
        `import { SaveHandler } from 'session-pgsql'
        const sessions = new SaveHandler({ gcInterval: 0 })
        for (const id of ['old', 'new']) await sessions.write(id, {}, { base: null })
        await sessions.close()`,
      )
      await project.node(['expired.mjs'], environment())
      await database.query(
        `UPDATE php_session SET sess_expire = sess_expire - 86400, sess_sweep = sess_sweep - 86400 WHERE sess_id = 'old'`,
      )
      const [program, ...args] = command
      const options = {
        cwd: project.folder,
        env: { PATH: process.env.PATH, ...variables },
        encoding: 'utf8',
      } as const
      const { status, stdout, stderr } = spawnSync(program, args, options)
      expect([status, stdout, stderr]).toEqual([0, '', ''])
      expect(await database.query('SELECT sess_id FROM php_session')).toEqual([{ sess_id: 'new' }])
      const failed = spawnSync(program, args, {
        ...options,
        env: { ...options.env, DATABASE_URL: 'postgresql://127.0.0.1:1/' },
      })
      expect(failed.status).toBe(1)
    })

    test('describes a configuration that Prometheus accepts', async (context) => {
      const heading = /^Prometheus and Grafana$/
      expect(parse(recipe(heading, 'yaml', 1)).providers[0].options.path).toBe('/var/lib/grafana/dashboards')
      if (spawnSync('promtool', ['--version']).error) context.skip('no promtool on this machine')
      cpSync(join(docs, 'alerts.yml'), join(project.folder, 'alerts.yml'))
      const path = await project.write('prometheus.yml', recipe(heading, 'yaml'))
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'config', path], {
        encoding: 'utf8',
      })
      expect([status, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/\d+ rules found/)
    })
  },
  ['postgres'],
)
