import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { PrismaPg } from '@prisma/adapter-pg'
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils'
import { eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { transformSync } from 'esbuild'
import knex from 'knex'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import type { Data } from '../handler/kit.ts'
import { type CommandFixture, describeWithCommand, json } from './place.ts'

const SPEC =
  'user_id:bigint:index,tenant:text:index,plan:jsonb:index,device:uuid,seen:timestamptz,ok:boolean,n:integer'
const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user_id, index: true },
  tenant: { type: 'text', value: (data: Data) => data.tenant, index: true },
  plan: { type: 'jsonb', value: (data: Data) => data.plan, index: true },
  device: { type: 'uuid', value: () => '0b1c0a2e-7e3b-4b0a-9c1d-0123456789ab' },
  seen: { type: 'timestamptz', value: () => new Date(0) },
  ok: { type: 'boolean', value: () => true },
  n: { type: 'integer', value: () => 7 },
} as const

/** The part of WebAssembly that these tests use; TypeScript declares it for browsers only. */
interface WebAssembly {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: { __wbindgen_start(): void } }
}

/** Loads Prisma's schema engine, compiled to WebAssembly: the CLI would download a native one. */
async function loadEngine() {
  const entry = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm')
  const engine = await import(pathToFileURL(join(entry, '../schema_engine_bg.js')).href)
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssembly }).WebAssembly
  const module = new Module(readFileSync(join(entry, '../schema_engine_bg.wasm')))
  const { exports } = new Instance(module, { './schema_engine_bg.js': engine })
  engine.__wbg_set_wasm(exports)
  exports.__wbindgen_start()
  return engine
}
// Once for the file: a second instance of the module would take the place of the first.
let engine: ReturnType<typeof loadEngine> | undefined

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url))

describeWithCommand('session-pgsql init --print --for', (setup) => {
  let folder: string
  beforeAll(() => {
    // In the repository, so that the printed programs find the packages that they import.
    const parent = join(ROOT, 'node_modules/.cache')
    // In a fresh clone it is there only after another test has made it.
    mkdirSync(parent, { recursive: true })
    folder = mkdtempSync(join(parent, 'schemas-'))
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  async function print(run: CommandFixture['run'], tool: string, ...options: string[]): Promise<string> {
    const argv = ['init', '--print', '--json', '--columns', SPEC, '--for', tool, ...options]
    const ran = await run(argv)
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    return json(ran).schema
  }

  /** Compiles a program with TypeScript, and returns the module of its first part. */
  // biome-ignore lint/suspicious/noExplicitAny: a module that is printed
  async function load(name: string, text: string, usage = ''): Promise<any> {
    const path = join(folder, `${name}.ts`)
    writeFileSync(path, `${text}\n${usage}`)
    const tsc = createRequire(import.meta.url).resolve('typescript/package.json')
    const options = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2022',
    ]
    const { status, stdout } = spawnSync(process.execPath, [join(tsc, '../bin/tsc'), ...options, path])
    expect([status, String(stdout)]).toEqual([0, ''])
    writeFileSync(join(folder, `${name}.mjs`), transformSync(text, { loader: 'ts' }).code)
    return import(pathToFileURL(join(folder, `${name}.mjs`)).href)
  }

  /** What PostgreSQL knows of the tables. */
  async function catalog({ database }: CommandFixture) {
    return [
      await database.query(`SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
          a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid) AS fallback, c.reloptions
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relname IN ('php_session', 'php_session_event') AND a.attnum > 0 ORDER BY c.relname, a.attnum`),
      await database.query(`SELECT pg_get_indexdef(indexrelid) AS def FROM pg_index
        WHERE indrelid IN ('php_session'::regclass, 'php_session_event'::regclass) ORDER BY 1`),
    ]
  }

  /** A database with the table of `init`, and a session. */
  async function initialized() {
    const fixture = await setup({ table: false })
    expect((await fixture.run(['init', '--columns', SPEC])).code).toBe(0)
    await write(fixture)
    return fixture
  }

  async function write({ db }: CommandFixture): Promise<void> {
    const sessions = new SaveHandler<Data, typeof columns>({ db, columns, gcInterval: 0, createTable: false })
    try {
      await sessions.write('one', { user_id: 7, tenant: 'acme', plan: { name: 'pro' } })
      expect(await sessions.count({ where: { user_id: 7, plan: { name: 'pro' } } })).toBe(1)
      expect(await sessions.destroyWhere({ user_id: 8 })).toBe(0)
    } finally {
      await sessions.close()
    }
  }

  /** Expects the store to find nothing missing in a table that a tool has created. */
  async function expectUsable(fixture: CommandFixture): Promise<void> {
    await write(fixture)
    const report = json(await fixture.run(['doctor', '--json']))
    expect(report.problems).toBe(0)
    const again = json(await fixture.run(['init', '--columns', SPEC, '--json']))
    return expect(again.servers[0]).toMatchObject({ columns: [], error: null })
  }

  describe('drizzle', () => {
    const usage = `import { eq } from 'drizzle-orm'
      import { drizzle } from 'drizzle-orm/node-postgres'
      const rows = await drizzle('').select().from(phpSession).where(eq(phpSession.user_id, 7))
      const n: number | null | undefined = rows[0]?.user_id
      void n`

    async function push(text: string, db: string, name: string) {
      const schema = await load(name, text, usage)
      const pool = new pg.Pool({ connectionString: db })
      const { pushSchema } = createRequire(import.meta.url)(
        'drizzle-kit/api',
      ) as typeof import('drizzle-kit/api')
      return { schema, pool, pushed: await pushSchema(schema, drizzle(pool) as never) }
    }

    test('finds nothing to migrate, and reads the table', async () => {
      const fixture = await initialized()
      const { schema, pool, pushed } = await push(await print(fixture.run, 'drizzle'), fixture.db, 'drizzle')
      try {
        expect(pushed.statementsToExecute).toEqual([])
        await fixture.database.query('CREATE TABLE php_session_lock (id text)')
        const { pushSchema } = createRequire(import.meta.url)(
          'drizzle-kit/api',
        ) as typeof import('drizzle-kit/api')
        const filter = ['*', '!php_session_lock', '!php_session_import']
        const filtered = await pushSchema(schema, drizzle(pool) as never, ['public'], filter)
        expect(filtered.statementsToExecute).toEqual([])
        const rows = await drizzle(pool)
          .select()
          .from(schema.phpSession)
          .where(eq(schema.phpSession.user_id, 7))
        expect(rows).toEqual([
          expect.objectContaining({
            sess_id: 'one',
            user_id: 7,
            tenant: 'acme',
            plan: { name: 'pro' },
            ok: true,
          }),
        ])
      } finally {
        await pool.end()
      }
    })

    test('creates a table that the store can use', async () => {
      const fixture = await setup({ table: false })
      const { pool, pushed } = await push(await print(fixture.run, 'drizzle'), fixture.db, 'drizzle-new')
      await pushed.apply()
      await pool.end()
      await expectUsable(fixture)
    })
  })

  describe('prisma', () => {
    const pools: pg.Pool[] = []
    afterAll(() => Promise.all(pools.map((pool) => pool.end())))

    /**
     * Returns Prisma's driver adapter, which lacks the type "char" of PostgreSQL's system tables: the CLI reads them by a
     * native driver.
     */
    function adapterFor(db: string) {
      const characters = new Set<string>()
      const pool = new pg.Pool({ connectionString: db })
      pools.push(pool)
      const query = pool.query.bind(pool) as (...args: unknown[]) => Promise<pg.QueryResult>
      const adaptedQuery = async (...args: unknown[]): Promise<pg.QueryResult> => {
        const result = await query(...args)
        for (const field of result.fields) {
          if (field.dataTypeID !== pg.types.builtins.CHAR) continue
          characters.add(field.name)
          field.dataTypeID = pg.types.builtins.TEXT
        }
        return result
      }
      const factory = new PrismaPg(Object.assign(pool, { query: adaptedQuery }))
      const connect = factory.connect.bind(factory)
      factory.connect = async () => {
        const adapter = await connect()
        const queryRaw = adapter.queryRaw.bind(adapter)
        adapter.queryRaw = async (asked) => {
          const result = await queryRaw(asked)
          const columnTypes = result.columnTypes.map((type, index) =>
            characters.has(result.columnNames[index] as string) ? ColumnTypeEnum.Character : type,
          )
          return { ...result, columnTypes }
        }
        return adapter
      }
      return bindMigrationAwareSqlAdapterFactory(factory)
    }

    async function pushPrisma(models: string, db: string) {
      engine ??= loadEngine()
      const content = `datasource db {\n  provider = "postgresql"\n}\n\n${models}\n`
      const schema = { files: [{ path: 'schema.prisma', content }] }
      const adapter = adapterFor(db)
      const running = await (await engine).SchemaEngine.new(
        { datamodels: [['schema.prisma', content]] },
        () => {},
        adapter,
      )
      const filters = { externalTables: [], externalEnums: [] }
      const pushed = await running.schemaPush({ force: false, schema, filters })
      const introspected = await running.introspect({
        ...{ schema, baseDirectoryPath: '/', force: false, compositeTypeDepth: -1, namespaces: null },
      })
      return { pushed, introspected: introspected.schema.files[0].content as string, content }
    }

    test('finds nothing to migrate, and introspects the same models', async () => {
      const fixture = await initialized()
      const before = await catalog(fixture)
      const models = await print(fixture.run, 'prisma')
      const { pushed, introspected, content } = await pushPrisma(models, fixture.db)
      expect(pushed).toMatchObject({ executedSteps: 0, unexecutable: [], warnings: [] })
      // Introspection shows partial indexes too, which schemas can contain with a preview feature only.
      expect(introspected.replaceAll(/.*where: raw.*\n/g, '')).toBe(content.replaceAll(/\/\/.*\n/g, ''))
      expect(await catalog(fixture)).toEqual(before)
    })

    test('creates a table that the store can use', async () => {
      const fixture = await setup({ table: false })
      await pushPrisma(await print(fixture.run, 'prisma'), fixture.db)
      await expectUsable(fixture)
    })
  })

  describe('knex', () => {
    const usage = `declare const db: Knex
      const rows = await db('php_session').where('user_id', '7').select('user_id', 'tenant')
      const id: string | null | undefined = rows[0]?.user_id
      void id`

    test('finds nothing to migrate, reads the table, and creates the same one', async () => {
      const [fixture, fresh] = [await initialized(), await setup({ table: false })]
      const before = await catalog(fixture)
      const migration = await load('knex', await print(fixture.run, 'knex'), usage)
      const migrationSource = {
        getMigrations: async () => ['sessions'],
        getMigrationName: (name: string) => name,
        getMigration: async () => migration,
      }
      for (const { db } of [fixture, fresh]) {
        const database = knex({ client: 'pg', connection: db })
        await database.migrate.latest({ migrationSource })
        expect(await database('php_session').where('user_id', 7).select('tenant')).toEqual(
          db === fixture.db ? [{ tenant: 'acme' }] : [],
        )
        if (db === fresh.db) {
          expect(await catalog(fresh)).toEqual(before)
          await database.migrate.rollback({ migrationSource })
          expect((await catalog(fresh).catch(() => 'gone')) as unknown).toBe('gone')
        }
        await database.destroy()
      }
      expect(await catalog(fixture)).toEqual(before)
    })
  })

  describe('kysely', () => {
    const usage = `declare const db: Kysely<SessionTables>
      const rows = await db.selectFrom('php_session').selectAll().where('user_id', '=', '7').execute()
      const id: string | null | undefined = rows[0]?.user_id
      void id`

    test('finds nothing to migrate, reads the table, and creates the same one', async () => {
      const [fixture, fresh] = [await initialized(), await setup({ table: false })]
      const before = await catalog(fixture)
      const text = await print(fixture.run, 'kysely')
      const { up, down } = await load('kysely', text, usage)
      for (const { db } of [fixture, fresh]) {
        const database = new Kysely<Record<string, Record<string, unknown>>>({
          dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: db }) }),
        })
        await up(database)
        const rows = await database
          .selectFrom('php_session')
          .select('tenant')
          .where('user_id', '=', '7')
          .execute()
        expect(rows).toEqual(db === fixture.db ? [{ tenant: 'acme' }] : [])
        // Its introspection and the printed types name the same columns.
        const tables = await database.introspection.getTables()
        for (const { name, columns } of tables) {
          const type = name === 'php_session' ? 'PhpSession' : 'PhpSessionEvent'
          const [, fields = ''] = new RegExp(`interface ${type} \\{([^}]*)\\}`).exec(text) ?? []
          expect([...fields.matchAll(/^ {2}(\w+):/gm)].map(([, field]) => field)).toEqual(
            columns.map((column) => column.name),
          )
        }
        if (db === fresh.db) {
          expect(await catalog(fresh)).toEqual(before)
          await down(database)
          expect(await database.introspection.getTables()).toEqual([])
        }
        await database.destroy()
      }
      expect(await catalog(fixture)).toEqual(before)
    })
  })

  test('names the tables of another schema', async () => {
    const { run } = await setup({ table: false })
    const table = ['--table', 'app.long_session_table_name_that_makes_postgresql_shorten_indexes']
    expect(await print(run, 'drizzle', ...table)).toContain("pgSchema('app').table(")
    expect(await print(run, 'prisma', ...table)).toContain('@@schema("app")')
    expect(await print(run, 'knex', ...table)).toContain("'app.long_session")
    expect(await print(run, 'kysely', ...table)).toContain("'app.long_session")
    expect((await run(['init', '--print', '--for', 'sequelize'])).code).toBe(2)
    expect((await run(['init', '--for', 'drizzle'])).code).toBe(2)
  })
})
