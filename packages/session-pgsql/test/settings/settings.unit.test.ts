import { Socket } from 'node:net'
import { inspect } from 'node:util'
import { neon } from '@neondatabase/serverless'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { parsePhpIni } from '../../src/php-ini.ts'
import { columns } from '../../src/settings/columns.ts'
import { RULES } from '../../src/settings/rules.ts'
import {
  describeSettings,
  resolveSettings,
  type SaveHandlerOptions,
  type Settings,
} from '../../src/settings/settings.ts'
import { messageOfInvalidOption } from '../support/invalid-option.ts'

type Environment = Record<string, string>

/** Resolves with the given environment only, not that of the process. */
function resolve(options: unknown = {}, environment: Environment = {}, ini = ''): Settings {
  return resolveSettings(options as SaveHandlerOptions, {
    environment,
    ini: parsePhpIni(ini, { environment }),
  })
}

const messageOf = (options: unknown, environment: Environment = {}, ini = ''): string =>
  messageOfInvalidOption(() => resolve(options, environment, ini))

const pools: pg.Pool[] = []
function newPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(config)
  pools.push(pool)
  return pool
}
afterAll(() => Promise.all(pools.map((pool) => pool.end())))

describe('defaults', () => {
  test('are as documented', () => {
    const { columns, db, idPattern, logger, ...rest } = resolve()
    expect(rest).toEqual({
      table: { schema: undefined, name: 'php_session' },
      createTable: true,
      failoverMode: false,
      shortCircuit: false,
      refreshAfter: undefined,
      keepExpired: false,
      keepExpiredFor: Infinity,
      expiryGrace: 60,
      maxLifetime: Infinity,
      durableTouches: false,
      announce: false,
      gcInterval: 3600,
      gcMaxlifetime: 1440,
      name: 'PHPSESSID',
      codec: 'json',
      conflict: 'merge',
      batch: true,
      operationTimeout: 5,
      poolSize: 10,
      ids: 'plain',
      whenHomeIsDown: 'absent',
      encryption: undefined,
    })
    expect(columns.all).toEqual([])
    expect(db).toMatchObject([
      {
        kind: 'conninfo',
        name: 'localhost:5432/php_session',
        conninfo: { user: 'nobody', database: 'php_session' },
      },
    ])
    expect(['a', '~'.repeat(256), '!'].every((id) => idPattern.test(id))).toBe(true)
    expect(['', ' ', 'a b', 'é', 'a\n', '\0', 'a'.repeat(257)].some((id) => idPattern.test(id))).toBe(false)
    expect(Object.isFrozen(resolve())).toBe(true)
    expect(Object.isFrozen(db) && Object.isFrozen(db[0]) && Object.isFrozen(rest.table)).toBe(true)
    expect(logger.warn).toBeTypeOf('function')
  })

  test('the default logger writes only warnings and errors, to stderr', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const error = vi.spyOn(console, 'error').mockImplementation(() => {})
    const log = vi.spyOn(console, 'log').mockImplementation(() => {})
    const { logger } = resolve()
    logger.debug('d')
    logger.info('i')
    logger.warn('w')
    logger.error('e', new Error('reason'))
    resolve({ logger: false }).logger.error('silent')
    expect([log.mock.calls, warn.mock.calls, error.mock.calls]).toEqual([
      [],
      [['session_pgsql: w']],
      [['session_pgsql: e: reason']],
    ])
    vi.restoreAllMocks()
  })
})

describe('sources', () => {
  /** For each option: a value, the same value as text, and another value as text. */
  const VALUES: Record<keyof typeof RULES, [value: unknown, text: string, other: string]> = {
    table: [{ schema: 's', name: 't' }, 's.t', 'u'],
    createTable: [false, 'off', 'on'],
    failoverMode: [true, 'on', 'off'],
    shortCircuit: [true, '1', '0'],
    refreshAfter: [Infinity, 'Infinity', '60'],
    keepExpired: [true, 'yes', 'no'],
    keepExpiredFor: [86400, '86400', '1'],
    expiryGrace: [0, '0', '30'],
    maxLifetime: [43200, '43200', '7'],
    durableTouches: [true, 'on', 'off'],
    announce: [true, 'on', 'off'],
    gcInterval: [-1, '-1', '5'],
    gcMaxlifetime: [0.5, '0.5', '7'],
    name: ['SID', 'SID', 'OTHER'],
    codec: ['php', 'php', 'json'],
    conflict: ['overwrite', 'overwrite', 'error'],
    columns: [columns('', { a: { type: 'text', index: true } }), 'a:text:index', 'b:jsonb'],
    batch: [false, 'false', 'true'],
    operationTimeout: [2, '2', '3'],
    poolSize: [3, '3', '4'],
    idPattern: [/^(?:[a-z]+)$/, '[a-z]+', 'php'],
    ids: ['hashed', 'hashed', 'plain'],
    whenHomeIsDown: ['error', 'error', 'absent'],
    logger: [expect.anything(), 'off', 'on'],
  }
  const snake = (name: string) => name.replaceAll(/[A-Z]/g, '_$&').toLowerCase()

  test.each(Object.entries(VALUES))(
    '%s: an option overrides php.ini, which overrides the environment',
    (name, [value, text, other]) => {
      const variable = `SESSION_PGSQL_${snake(name).toUpperCase()}`
      const ini = (content: string) => `[session]\nsession_pgsql.${snake(name)} = "${content}"\n`
      const read = (options: unknown, environment: Environment, file: string) =>
        resolve(options, environment, file)[name as keyof Settings]
      expect(read({}, { [variable]: text }, '')).toEqual(value)
      expect(read({}, { [variable]: other }, ini(text))).toEqual(value)
      expect(read({ [name]: undefined }, {}, ini(text))).toEqual(value)
      expect(read({}, { [variable]: '' }, '')).toEqual(resolve()[name as keyof Settings])
      if (name === 'logger' || name === 'table' || name === 'idPattern' || name === 'columns') return
      expect(read({ [name]: value }, { [variable]: other }, ini(other))).toEqual(value)
    },
  )

  test("reads a php.ini of session_pgsql, including PHP's directives", () => {
    const ini = `
      session.save_handler = pgsql
      session.name = SID
      session.gc_maxlifetime = 7200 ; two hours
      session.serialize_handler = php_serialize
      session_pgsql.db = "host=db1 password='a;b';host=db2"
      session_pgsql.create_table = Off
      session_pgsql.keep_expired = on
      session_pgsql.gc_interval = 0
      session_pgsql.disable = Off
    `
    expect(resolve({}, {}, ini)).toMatchObject({
      name: 'SID',
      gcMaxlifetime: 7200,
      codec: 'php_serialize',
      createTable: false,
      keepExpired: true,
      gcInterval: 0,
    })
    expect(resolve({}, {}, ini).db.map(({ kind }) => kind)).toEqual(['conninfo', 'conninfo'])
    expect(
      resolve({}, {}, `${ini}session_pgsql.codec = json\nsession_pgsql.gc_maxlifetime = 5`),
    ).toMatchObject({
      codec: 'json',
      gcMaxlifetime: 5,
    })
  })

  test('rejects unsupported directives of a php.ini', () => {
    expect(messageOf({}, {}, 'session_pgsql.disable = On')).toMatch(/session_pgsql.disable: not supported/)
    expect(messageOf({}, {}, 'session_pgsql.gc_intervall = 5')).toMatch(
      /did you mean "session_pgsql.gc_interval"/,
    )
    expect(messageOf({}, {}, 'session.serialize_handler = igbinary')).toBe(
      `directive session.serialize_handler: expected one of 'json', 'php', 'php_serialize', 'php_binary', or an object with name, encode and decode; received "igbinary"`,
    )
    resolve({}, {}, 'session.gc_probability = 1\nother.thing = 2')
  })

  test('db comes from SESSION_PGSQL_DB, DATABASE_URL, PG*, or the default of session_pgsql, in this order', () => {
    const all = {
      SESSION_PGSQL_DB: 'host=a',
      DATABASE_URL: 'postgresql://b/d',
      PGHOST: 'c',
      PGDATABASE: 'd',
      PGUSER: 'u',
    }
    const names = (environment: Environment, options = {}, ini = '') =>
      resolve(options, environment, ini).db.map(({ name }) => name)
    expect(names(all, { db: 'host=o' }, 'session_pgsql.db = "host=i"')).toEqual(['o:5432/d'])
    expect(names(all, {}, 'session_pgsql.db = "host=i"')).toEqual(['i:5432/d'])
    expect(names(all)).toEqual(['a:5432/d'])
    const { SESSION_PGSQL_DB: _a, ...second } = all
    expect(names(second)).toEqual(['b:5432/d'])
    const { DATABASE_URL: _b, ...third } = second
    expect(names(third)).toEqual(['c:5432/d'])
    expect(names({ PGDATABASE: 'x' })).toEqual(['localhost:5432/x'])
    expect(names({ PGPASSWORD: 'x', PGPORT: '7' })).toEqual(['localhost:7/php_session'])
  })
})

describe('checks', () => {
  test('rejects an unknown option and names the most similar known one', () => {
    expect(messageOf({ gc_interval: 5 })).toBe('unknown option "gc_interval"; did you mean "gcInterval"?')
    expect(messageOf({ databse: 'x' })).toMatch(/unknown option "databse"\. Known names: db, table/)
    expect(messageOf({ pollSize: 5 })).toMatch(/did you mean "poolSize"/)
    expect(messageOf(null)).toMatch(/expected an object such as .*; received null/)
    expect(messageOf('host=h password=hunter2')).toMatch(/received a string$/)
  })

  test.each<[keyof SaveHandlerOptions, unknown, RegExp]>([
    ['createTable', 'yes', /^option createTable: expected true or false; received "yes"$/],
    ['shortCircuit', 1, /expected true or false; received 1$/],
    ['gcInterval', '3600', /expected a number of seconds, up to 2147483; received "3600"\. 0 means never/],
    ['gcInterval', Number.NaN, /received NaN/],
    ['gcInterval', -Infinity, /received -Infinity/],
    ['gcMaxlifetime', 0, /from above 0 to 10000000000; received 0/],
    ['refreshAfter', -1, /, or Infinity; received -1/],
    ['keepExpiredFor', null, /received null/],
    ['expiryGrace', -1, /received -1/],
    ['operationTimeout', Infinity, /received Infinity/],
    ['operationTimeout', 5_000_000, /received 5000000/],
    ['poolSize', 1.5, /a whole number of connections, from 1 to 10000; received 1.5/],
    ['poolSize', 0, /received 0/],
    ['name', 'a b', /received "a b"/],
    ['name', '', /received ""/],
    ['codec', 'igbinary', /received "igbinary"/],
    ['codec', { name: 'x', encode() {} }, /expected an object with name \(string\), encode and decode/],
    ['codec', { name: 'x', encode() {}, decode() {}, merge: true }, /and optionally merge \(function\)/],
    ['conflict', 'first', /'merge', 'overwrite', 'error', or a function .*; received "first"/],
    ['idPattern', '[a-z]', /a RegExp, or 'php'; received "\[a-z\]"/],
    ['whenHomeIsDown', 'wait', /'absent', 'error'; received "wait"/],
    ['logger', {}, /debug, info, warn and error \(functions\), or false; received an object/],
    ['table', '', /received ""/],
    ['table', 'a.b.c', /received "a\.b\.c"/],
    ['table', '.b', /received "\.b"/],
    ['table', 'a.', /received "a\."/],
    ['table', '"a', /received/],
    ['table', 'a"b', /received/],
    ['table', 'a\0b', /received/],
    ['table', '\ud800', /received/],
    ['table', 'é'.repeat(32), /1 to 63 bytes/],
    ['table', 5, /received 5/],
  ])('%s: %j', (name, value, message) => {
    expect(messageOf({ [name]: value })).toMatch(message)
  })

  test('checks texts like values, and names their source in the message', () => {
    expect(messageOf({}, { SESSION_PGSQL_POOL_SIZE: 'many' })).toMatch(
      /^environment variable SESSION_PGSQL_POOL_SIZE: .*; received "many"$/,
    )
    expect(messageOf({}, {}, 'session_pgsql.batch = 2')).toMatch(
      /^directive session_pgsql.batch: .*; received "2"$/,
    )
    expect(messageOf({}, { SESSION_PGSQL_ID_PATTERN: '(' })).toMatch(
      /^environment variable SESSION_PGSQL_ID_PATTERN/,
    )
  })

  test('takes table names literally', () => {
    const table = (name: string) => resolve({ table: name }).table
    expect(table('Sessions')).toEqual({ schema: undefined, name: 'Sessions' })
    expect(table('web.sessions')).toEqual({ schema: 'web', name: 'sessions' })
    expect(table('"a.b"."c ""d"""')).toEqual({ schema: 'a.b', name: 'c "d"' })
    expect(table('a b.select')).toEqual({ schema: 'a b', name: 'select' })
    expect(table('"a""b"')).toEqual({ schema: undefined, name: 'a"b' })
    expect(table('x'.repeat(63)).name).toHaveLength(63)
  })

  test("takes the table's schema from Prisma's parameter of the URL, unless table names one", () => {
    const table = (db: unknown, options = {}) => resolve({ db, ...options }).table
    expect(table('postgres://h/d?schema=app')).toEqual({ schema: 'app', name: 'php_session' })
    expect(table('postgres://h/d?schema=app', { table: 'sessions' })).toEqual({
      schema: 'app',
      name: 'sessions',
    })
    expect(table('postgres://h/d?schema=app', { table: 'web.sessions' })).toEqual({
      schema: 'web',
      name: 'sessions',
    })
    expect(table('postgres://h/d?schema=')).toEqual({ schema: undefined, name: 'php_session' })
    expect(resolve({}, { DATABASE_URL: 'postgres://h/d?schema=public' }).table.schema).toBe('public')
    const both = ['postgres://a/d?schema=app', 'postgres://b/d?schema=app']
    expect(table(both).schema).toBe('app')
    for (const other of ['postgres://b/d?schema=web', 'postgres://b/d']) {
      expect(messageOf({ db: [both[0], other] })).toBe(
        'option db: schema: expected the same schema for all entries. Remove it, and name the schema in the option table',
      )
      expect(table([both[0], other], { table: 'x.y' }).schema).toBe('x')
    }
    expect(messageOf({ db: `postgres://h/d?schema=${'x'.repeat(64)}` })).toMatch(
      /^option db: schema: .*1 to 63 bytes/,
    )
  })

  test('matches idPattern with the whole id, and keeps no state between tests', () => {
    const { idPattern } = resolve({ idPattern: /[a-f]+|z/gim })
    expect(['abc', 'ABC', 'z', 'abc', 'abc'].every((id) => idPattern.test(id))).toBe(true)
    expect(['abc!', '!z', 'a\nb', 'abc\n', ''].some((id) => idPattern.test(id))).toBe(false)
    const php = resolve({ idPattern: 'php' }).idPattern
    expect([php.test('aZ0,_-'), php.test('a.b'), php.test('')]).toEqual([true, false, false])
  })

  test('keeps functions and objects unchanged', () => {
    const codec = { name: 'upper', encode: () => '', decode: () => ({}) }
    const conflict = () => ({})
    expect(resolve({ codec, conflict, logger: console })).toMatchObject({ codec, conflict, logger: console })
  })
})

/** The `sql` of a reserved connection: the functions without the options. */
function reservedSql() {
  return Object.assign(() => {}, { unsafe() {}, typed() {}, file() {}, release() {} })
}

describe('db', () => {
  test('accepts every form, alone and in an array', () => {
    const pool = newPool({ host: 'p', database: 'd', password: 'hunter2' })
    const config = { connectionString: 'postgresql://u:hunter2@c:7/d?sslmode=no-verify', max: 3 }
    const { db } = resolve({
      db: [
        'host=a;host=b',
        new URL('postgresql://u:hunter2@v/d'),
        pool,
        config,
        'pglite:',
        'pglite:',
        'pglite:./sessions',
      ],
    })
    expect(db.map(({ kind, name }) => [kind, name])).toEqual([
      ['conninfo', expect.stringMatching(/^a:5432\//)],
      ['conninfo', expect.stringMatching(/^b:5432\//)],
      ['conninfo', 'v:5432/d'],
      ['pool', 'p:5432/d'],
      ['poolConfig', 'c:7/d'],
      ['pgliteFolder', 'pglite:'],
      ['pgliteFolder', 'pglite:#2'],
      ['pgliteFolder', 'pglite:./sessions'],
    ])
    expect(db[3]).toHaveProperty('pool', pool)
    expect(db[4]).toHaveProperty('config', config)
    expect(db[5]).toHaveProperty('folder', undefined)
    expect(db[6]).toHaveProperty('folder', undefined)
    expect(db[7]).toHaveProperty('folder', './sessions')
    expect(resolve({ db: pool }).db).toHaveLength(1)
    expect(resolve({ db: { host: 'x', name: 'eu-1' } }).db[0]?.name).toBe('eu-1')
    expect(resolve({ db: { connectionString: 'postgresql:///d?host=/tmp' } }).db[0]?.name).toBe('/tmp:5432/d')
  })

  test('rejects two entries with the same name', () => {
    expect(messageOf({ db: 'host=a dbname=d;postgresql://a/d' })).toMatch(
      /two entries have the name "a:5432\/d"/,
    )
    expect(messageOf({ db: ['pglite:./x', 'pglite:./x'] })).toMatch(/"pglite:.\/x"/)
    expect(resolve({ db: 'host=a dbname=d;host=a dbname=d name=second' }).db).toHaveLength(2)
  })

  test.each<[string, unknown]>([
    ['a number', 5],
    ['null', null],
    ['an array', [['host=a']]],
    ['a function', () => 'host=a'],
    ['a single connection', new pg.Client({ password: 'hunter2' })],
    ['an empty array', []],
    ['an empty string', ' ; '],
    ['another scheme', 'mysql://u:hunter2@h/d'],
    ['another scheme', 'redis://:hunter2@h'],
    ['an object of class Map', new Map([['password', 'hunter2']])],
    ['connectionString: expected a string; received a number', { connectionString: 5, password: 'hunter2' }],
    ['after the password', 'host=a password=x hunter2=y'],
    ['after the password', 'host=a password=x;hunter2=y'],
    ['no "="', 'host=a password=x;hunter2'],
    ['no "="', 'hunter2'],
  ])('rejects %s without showing the value', (what, db) => {
    const message = messageOf({ db })
    expect(message).toContain(what)
    expect(message).not.toContain('hunter2')
    expect(message.length).toBeLessThan(500)
  })

  test.each<[object, RegExp]>([
    [{ host: 'h', databse: 'hunter2' }, /unknown key "databse"; did you mean "database"\?$/],
    [{ host: 'h', dbname: 'hunter2' }, /unknown key "dbname"; did you mean "database"\?$/],
    [{ host: 'h', username: 'hunter2' }, /unknown key "username"; did you mean "user"\?$/],
    [{ host: 'h', pass: 'hunter2' }, /unknown key "pass"; did you mean "password"\?$/],
    [{ hostname: 'hunter2' }, /unknown key "hostname"; did you mean "host"\?$/],
    [{ url: 'postgres://u:hunter2@h/d' }, /unknown key "url"; did you mean "connectionString"\?$/],
    [{ host: 'h', poolSize: 3 }, /unknown key "poolSize"; did you mean "max"\?$/],
    [{ host: 'h', applicationName: 'a' }, /did you mean "application_name"/],
    [{ host: 'h', idleTimeout: 5 }, /did you mean "idleTimeoutMillis"/],
    [{ host: 'h', frobnicate: 5 }, /unknown key "frobnicate"\. Known keys: host, port, .*connectionString/],
    [
      { host: 'h', sslmode: 'require' },
      /"sslmode" has no effect in an object.*ssl: \{ rejectUnauthorized: false \}.*conninfo string/,
    ],
    [{ host: 'h', sslrootcert: '/ca.crt' }, /"sslrootcert" has no effect in an object.*ssl: \{ ca/],
    [{ client: 'pg', connection: 'postgres://u:hunter2@h/d' }, /configuration of knex.*Pass its connection/],
    [{ client: 'pg', connection: { host: 'h', password: 'hunter2' } }, /configuration of knex/],
    [{ dialect: 'postgres', username: 'u', password: 'hunter2' }, /unknown key "dialect"/],
    [{ host: 5, password: 'hunter2' }, /host: expected a string; received a number$/],
    [{ host: 'h', database: ['hunter2'] }, /database: expected a string; received an array$/],
    [{ host: 'h', port: 'abc' }, /port: expected a number from 1 to 65535; received a (?:string|number)$/],
    [{ host: 'h', port: 70000 }, /port: expected a number from 1 to 65535; received a (?:string|number)$/],
    [{ host: 'h', password: 5 }, /password: expected a string or a function; received a number$/],
    [
      { host: 'h', ssl: 'require' },
      /ssl: expected true, false or an object such as \{ rejectUnauthorized: false \}; received a string$/,
    ],
    [{ host: 'h', max: 0 }, /max: expected a whole number from 1 to 10000; received a number$/],
    [{ host: 'h', name: 5 }, /name: expected a string; received a number$/],
  ])('rejects the object %j and says what is meant', (db, message) => {
    for (const source of [{ db }, { db: ['host=other', db] }]) {
      const shown = messageOf(source)
      expect(shown).toMatch(message)
      expect(shown).toMatch(/^option db: /)
      expect(shown).not.toContain('hunter2')
    }
  })

  test('accepts the options of node-postgres in an object', () => {
    const configs: pg.PoolConfig[] = [
      { host: 'h', port: 5, user: 'u', database: 'd', password: async () => 'x', ssl: { ca: 'x' } },
      { connectionString: 'postgres://h/d', max: 3, min: 1, idleTimeoutMillis: 5, allowExitOnIdle: true },
      { host: 'h', statement_timeout: 5, keepAlive: true, application_name: 'a', enableChannelBinding: true },
      { host: 'h', ssl: false, sslnegotiation: 'direct', maxUses: 5, maxLifetimeSeconds: 5 },
      { host: 'h', user: undefined, password: undefined },
    ]
    for (const db of configs) expect(resolve({ db }).db[0]?.kind).toBe('poolConfig')
    // As read from the environment.
    expect(resolve({ db: { host: 'h', port: '6432', ssl: 'no-verify' } }).db[0]?.name).toMatch(/^h:6432/)
  })

  test('takes the server of a `sql` of postgres.js', () => {
    const configOf = (sql: postgres.Sql) => {
      const [entry] = resolve({ db: sql }).db
      return { name: entry?.name, ...(entry as { config?: object }).config }
    }
    expect(configOf(postgres('postgres://u:hunter2@h:7/d'))).toEqual({
      ...{ name: 'h:7/d', host: 'h', port: 7, database: 'd', user: 'u', password: 'hunter2', ssl: false },
    })
    const password = async () => 'x'
    expect(
      configOf(
        postgres({
          ...{ host: '/tmp', port: 7, user: 'u', database: 'd', password, ssl: 'require' },
          connection: { application_name: 'shop', search_path: 'a, b', options: '-c jit=off' },
        }),
      ),
    ).toEqual({
      ...{ name: '/tmp:7/d', host: '/tmp', port: 7, database: 'd', user: 'u', password },
      ssl: { rejectUnauthorized: false },
      application_name: 'shop',
      options: '-c jit=off -c search_path=a,\\ b',
    })
  })

  test.each<[RegExp, unknown]>([
    [/several hosts is not supported/, postgres('postgres://u:hunter2@a:1,b:2/d')],
    [/ssl: 'prefer' is not supported/, postgres('postgres://u:hunter2@a/d?ssl=prefer')],
    [
      /the option socket is not supported/,
      postgres({ pass: 'hunter2', socket: () => new Socket() } as object),
    ],
    [/`begin` or `reserve`.*Pass the one that `postgres\(\)` returned/, reservedSql()],
    [/neon\(\).*Pass a Pool of @neondatabase\/serverless/, neon('postgresql://u:hunter2@h/d')],
  ])('rejects what cannot serve as db: %s', (message, db) => {
    expect(messageOf({ db })).toMatch(message)
    expect(messageOf({ db })).not.toContain('hunter2')
  })

  test('no printed form contains a password', () => {
    const forms: [string, unknown][] = [
      ['conninfo', 'host=h password=hunter2 sslpassword=hunter2'],
      ['URL', 'postgresql://u:hunter2@h/d?sslpassword=hunter2'],
      ['URL object', new URL('postgresql://u:hunter2@h/d')],
      ['array', ['host=h password=hunter2', 'host=i password=hunter2']],
      ['pool', newPool({ host: 'h', password: 'hunter2' })],
      ['pool by URL', newPool({ connectionString: 'postgresql://u:hunter2@h/d' })],
      ['options', { host: 'h', password: 'hunter2', ssl: { key: 'hunter2' } }],
      ['options by URL', { connectionString: 'postgresql://u:hunter2@h/d?x=hunter2&y' }],
      ['options by odd URL', { connectionString: 'postgresql://u:hunter2@hunter2@h/d?x' }],
      ['postgres.js', postgres('postgres://u:hunter2@h/d')],
    ]
    for (const [form, db] of forms) {
      const settings = resolve({ db })
      const printed = [
        inspect(settings, { depth: null }),
        JSON.stringify(settings),
        inspect({ ...settings, db: settings.db.map((entry) => ({ ...entry })) }, { depth: null }),
        JSON.stringify(describeSettings(settings)),
        inspect(describeSettings(settings), { depth: null, showHidden: true }),
      ].join('\n')
      expect([form, /hunter2/.test(printed)]).toEqual([form, false])
    }
    const fromEnvironment = resolve({}, { DATABASE_URL: 'postgresql://u:hunter2@h/d' })
    expect(inspect(fromEnvironment, { depth: null }) + JSON.stringify(fromEnvironment)).not.toContain(
      'hunter2',
    )
  })
})

describe('describeSettings', () => {
  test('returns complete, plain JSON', () => {
    const settings = resolve({
      db: 'postgresql://u:hunter2@a:1,b:2/d?sslmode=require&weight=2',
      table: 'web.sessions',
      refreshAfter: Infinity,
      conflict: () => ({}),
      codec: { name: 'mine', encode: () => '', decode: () => ({}) },
    })
    const described = describeSettings(settings)
    expect(JSON.parse(JSON.stringify(described))).toEqual(described)
    expect(described).toMatchObject({
      db: [
        {
          kind: 'conninfo',
          name: 'a:1,b:2/d',
          hosts: [
            { host: 'a', port: 1 },
            { host: 'b', port: 2 },
          ],
          user: 'u',
          database: 'd',
          sslmode: 'require',
          weight: 2,
        },
      ],
      table: 'web.sessions',
      refreshAfter: 'Infinity',
      keepExpiredFor: 'Infinity',
      expiryGrace: 60,
      durableTouches: false,
      conflict: 'function',
      codec: 'mine',
    })
    expect(describeSettings(resolve()).refreshAfter).toBe('a tenth of the lifetime')
    const shown = Object.keys(described)
    expect(['db', ...Object.keys(RULES)].filter((name) => !shown.includes(name))).toEqual(['logger'])
  })
})
