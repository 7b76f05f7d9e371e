import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseConninfo, splitEntries } from '../../src/conninfo/conninfo.ts'
import { KEYWORDS } from '../../src/conninfo/keywords.ts'
import { parsePairs } from '../../src/conninfo/syntax.ts'
import { databaseEntries } from '../../src/settings/database-entries.ts'
import { messageOfInvalidOption } from '../support/invalid-option.ts'

const me = userInfo().username

const messageOf = (text: string, environment: Record<string, string> = {}): string =>
  messageOfInvalidOption(() => parseConninfo(text, environment), text)

/** As `messageOf`, for an entry of `db` of any form. */
const entryMessageOf = (text: string): string =>
  messageOfInvalidOption(() => databaseEntries('option db', text, {}), text)

const hostsOf = (text: string, environment = {}) =>
  parseConninfo(text, environment).hosts.map(({ host, port, address }) =>
    address === undefined ? `${host} ${port}` : `${host}=${address} ${port}`,
  )

/** The expected pairs are the output of PQconninfoParse of libpq 15. */
describe('parsePairs parses as libpq does', () => {
  test.each<[string, Record<string, string>]>([
    ['', {}],
    ['host=a port=5', { host: 'a', port: '5' }],
    [' host = a\tport\n=\n5 ', { host: 'a', port: '5' }],
    ["password='it\\'s \\\\ here' user=u", { password: "it's \\ here", user: 'u' }],
    ["password=it's user=u", { password: "it's", user: 'u' }],
    ['password=a\\ b user=u', { password: 'a b', user: 'u' }],
    ["password='' user=u", { password: '', user: 'u' }],
    ["password=''user=u", { password: '', user: 'u' }],
    ['host= dbname=x', { host: 'dbname=x' }],
    ['user=u password=', { user: 'u', password: '' }],
    ['password=a=b==', { password: 'a=b==' }],
    ["password=='x'", { password: "='x'" }],
    ['host=a host=b', { host: 'b' }],
    ['password=a\\', { password: 'a' }],
    ['postgresql://', {}],
    ['postgres://localhost', { host: 'localhost' }],
    ['postgresql://u:p@h:1/d', { user: 'u', password: 'p', host: 'h', port: '1', dbname: 'd' }],
    ['postgresql://u@h/', { user: 'u', host: 'h' }],
    ['postgresql://:p@/d', { password: 'p', dbname: 'd' }],
    ['postgresql://u:p:q@h', { user: 'u', password: 'p:q', host: 'h' }],
    ['postgresql://u:p%40%2F%3B%25@h', { user: 'u', password: 'p@/;%', host: 'h' }],
    ['postgresql://a:1,b:2/d', { host: 'a,b', port: '1,2', dbname: 'd' }],
    ['postgresql://a,b:2', { host: 'a,b', port: ',2' }],
    ['postgresql://[::1]:5/d', { host: '::1', port: '5', dbname: 'd' }],
    ['postgresql://[fe80::1],[::2]', { host: 'fe80::1,::2', port: ',' }],
    ['postgresql://%2Ftmp%2Fpg/d', { host: '/tmp/pg', dbname: 'd' }],
    ['postgresql:///d?host=/tmp&port=7', { dbname: 'd', host: '/tmp', port: '7' }],
    ['postgresql://h/d?ssl=true', { host: 'h', dbname: 'd', sslmode: 'require' }],
    ['postgresql://h?connect_timeout=3&', { host: 'h', connect_timeout: '3' }],
    ['postgresql://h?options=-c%20a%3Db', { host: 'h', options: '-c a=b' }],
    ['postgresql://h/d+e', { host: 'h', dbname: 'd+e' }],
    ['postgresql://h/d%C3%A9', { host: 'h', dbname: 'dé' }],
  ])('%j', (text, pairs) => {
    expect(Object.fromEntries(parsePairs(text, 'option db'))).toEqual(pairs)
  })

  test.each([
    'host',
    'host a',
    "host='a",
    "host='a\\'",
    '=a',
    'postgresql://[::1',
    'postgresql://[]',
    'postgresql://[::1]x',
    'postgresql://h?a',
    'postgresql://h?host=a=b',
    'postgresql://h/%zz',
    'postgresql://h/%00',
    'postgresql://h?=x',
    'host=a\0b',
  ])('rejects %j', (text) => {
    messageOf(text)
  })
})

describe('splitEntries', () => {
  test.each<[string, string[]]>([
    ['host=a;host=b', ['host=a', 'host=b']],
    [' host=a ; ; host=b; ', ['host=a', 'host=b']],
    ["host=a password='x;y';host=b", ["host=a password='x;y'", 'host=b']],
    ["password = 'x\\';y' ;host=b", ["password = 'x\\';y'", 'host=b']],
    ['password=x\\;y;host=b', ['password=x\\;y', 'host=b']],
    ["password=it's;password=it's", ["password=it's", "password=it's"]],
    ["password=='a;b", ["password=='a", 'b']],
    ["postgresql://u:it's@a;postgresql://b", ["postgresql://u:it's@a", 'postgresql://b']],
    ['pglite:./folder;host=b', ['pglite:./folder', 'host=b']],
    ["password='never closed;host=b", ["password='never closed;host=b"]],
    ['', []],
  ])('%j', (text, entries) => {
    expect(splitEntries(text)).toEqual(entries)
  })

  test('preserves quoted entries with any password', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 4 }), (passwords) => {
        fc.pre(passwords.every((password) => !password.includes('\0')))
        const entries = passwords.map(
          (password) => `host=a password='${password.replaceAll(/['\\]/g, '\\$&')}'`,
        )
        const split = splitEntries(entries.join(' ; '))
        expect(split).toEqual(entries)
        expect(split.map((entry) => parseConninfo(entry, {}).password ?? '')).toEqual(passwords)
      }),
    )
  })

  test('preserves any percent-encoded password in a URL', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (password) => {
        fc.pre(!password.includes('\0'))
        const url = `postgresql://u:${encodeURIComponent(password)}@h:1/d`
        expect(splitEntries(`${url};${url}`)).toEqual([url, url])
        expect(parseConninfo(url, {})).toMatchObject({ password, name: 'h:1/d', user: 'u' })
      }),
    )
  })
})

describe('parseConninfo', () => {
  test('has the defaults of libpq', () => {
    expect(parseConninfo('', {})).toMatchObject({
      name: `localhost:5432/${me}`,
      user: me,
      database: me,
      password: undefined,
      connectTimeout: undefined,
      targetSessionAttrs: 'any',
      loadBalanceHosts: 'disable',
      keepalives: true,
      keepalivesIdle: undefined,
      weight: 1,
      tls: { mode: 'prefer', negotiation: 'postgres' },
    })
    expect(parseConninfo('user=u', {}).database).toBe('u')
  })

  test('takes missing values from the environment, and keeps given values', () => {
    const environment = {
      PGHOST: 'e1,e2',
      PGPORT: '7',
      PGUSER: 'eu',
      PGPASSWORD: 'ep',
      PGDATABASE: 'ed',
      PGSSLMODE: 'require',
      PGSSLROOTCERT: '/r',
      PGCONNECT_TIMEOUT: '9',
      PGTARGETSESSIONATTRS: 'primary',
      PGAPPNAME: 'ea',
      PGOPTIONS: '-c x=1',
      PGPASSFILE: '/pass',
      PGLOADBALANCEHOSTS: 'random',
    }
    expect(parseConninfo('', environment)).toMatchObject({
      name: 'e1:7,e2:7/ed',
      user: 'eu',
      password: 'ep',
      tls: { mode: 'require', rootCert: '/r' },
      connectTimeout: 9,
      targetSessionAttrs: 'primary',
      applicationName: 'ea',
      options: '-c x=1',
      passfile: '/pass',
      loadBalanceHosts: 'random',
    })
    const own =
      "host=h port=1 user=u password=p dbname=d sslmode=disable connect_timeout=0 target_session_attrs=any application_name=a options='' passfile=/x load_balance_hosts=disable"
    expect(parseConninfo(own, environment)).toMatchObject({
      name: 'h:1/d',
      user: 'u',
      password: 'p',
      tls: { mode: 'disable' },
      connectTimeout: undefined,
      targetSessionAttrs: 'any',
      applicationName: 'a',
      options: undefined,
      passfile: '/x',
      loadBalanceHosts: 'disable',
    })
  })

  test('combines hosts, ports and addresses as libpq does', () => {
    expect(hostsOf('host=a,b port=1,2')).toEqual(['a 1', 'b 2'])
    expect(hostsOf('host=a,b port=1')).toEqual(['a 1', 'b 1'])
    expect(hostsOf('host=a,b')).toEqual(['a 5432', 'b 5432'])
    expect(hostsOf('host=a,b port=,2')).toEqual(['a 5432', 'b 2'])
    expect(hostsOf('host=,b')).toEqual(['localhost 5432', 'b 5432'])
    expect(hostsOf('host=a hostaddr=10.0.0.1')).toEqual(['a=10.0.0.1 5432'])
    expect(hostsOf('hostaddr=10.0.0.1,::1')).toEqual(['10.0.0.1=10.0.0.1 5432', '::1=::1 5432'])
    expect(hostsOf('postgresql://a,[::1]:9')).toEqual(['a 5432', '::1 9'])
    expect(hostsOf('postgresql://%2Fvar%2Frun%2Fpostgresql/d')).toEqual(['/var/run/postgresql 5432'])
    expect(messageOf('host=a,b,c port=1,2')).toMatch(/2 values for port, but 3 for host/)
    expect(messageOf('host=a,b hostaddr=10.0.0.1')).toMatch(/2 values for host, but 1 for hostaddr/)
    for (const port of ['0', '65536', '5432x', '-1']) messageOf(`host=a port=${port}`)
  })

  test('gives a stable name without a password', () => {
    expect(parseConninfo('host=a,::1 dbname=d password=secret', {}).name).toBe('a:5432,[::1]:5432/d')
    expect(parseConninfo('name=eu-1 host=a', {}).name).toBe('eu-1')
    expect(parseConninfo('postgresql://u:secret@h/d?name=eu-1&weight=2.5', {})).toMatchObject({
      name: 'eu-1',
      weight: 2.5,
    })
    for (const weight of ['-1', 'x', '1e3']) messageOf(`host=a weight=${weight}`)
  })

  test('no printed form contains a password', () => {
    const conninfo = parseConninfo('host=h password=hunter2 sslpassword=swordfish', {})
    expect(conninfo.password).toBe('hunter2')
    expect(conninfo.tls.password).toBe('swordfish')
    const printed =
      inspect(conninfo, { depth: null }) + JSON.stringify(conninfo) + JSON.stringify({ ...conninfo })
    expect(printed).not.toMatch(/hunter2|swordfish/)
  })

  test('the message names an unknown keyword and the most similar known one', () => {
    expect(messageOf('host=h dbnam=x')).toMatch(/unknown keyword "dbnam".*did you mean "dbname"/)
    expect(messageOf('postgresql://h?sslmod=x')).toMatch(/"sslmod".*"sslmode"/)
    expect(messageOf('hsot=h')).toMatch(/did you mean "host"/)
    expect(messageOf('host=h frobnicate=1')).toMatch(/"frobnicate"/)
    expect(messageOf('host=h __proto__=1')).toMatch(/"__proto__"/)
  })

  test.each([
    'password=hunter2 swordfish=1 host=h',
    'password=hunter2 swordfish host=h',
    "password='hunter2'swordfish=1",
    "password='hunter2 swordfish",
    "password='hunter2\\' swordfish",
    'passwrd=hunter2',
    'password=hunter2 port=swordfish',
    'password=hunter2 sslmode=swordfish',
    'password=hunter2 weight=swordfish',
    'password=hunter2 connect_timeout=swordfish',
    'postgresql://u:hunter2/swordfish@h/d',
    'postgresql://u:12/swordfish@h/d',
    'postgresql://u:hunter2@swordfish@h/d',
    'postgresql://u:hunter2%zzswordfish@h/d',
    'postgresql://u:hunter2@h?x=swordfish',
    'postgresql://h?password=hunter2&swordfish=1',
    'postgresql://h?password=hunter2&swordfish',
    'postgresql://h?password=hunter2=swordfish',
    'postgresql://u:hunter2#swordfish/@h',
    'postgresql://u:hunter2[swordfish',
    'host=hunter2@swordfish',
    'sslpassword=hunter2 swordfish=1',
    'scram_client_key=hunter2',
    'channel_binding=hunter2',
  ])('the message for %j contains no value', (text) => {
    expect(messageOf(text)).not.toMatch(/hunter2|swordfish/)
  })

  test('no message contains a word of an unquoted password with blanks', () => {
    const word = fc.stringMatching(/^[a-z]{6,12}$/).filter((text) => !Object.hasOwn(KEYWORDS, text))
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 2, maxLength: 5 }),
        fc.constantFrom(' ', '=', ' = '),
        (words, glue) => {
          const secret = words.join(' ').replace(' ', glue === '=' ? ' x=' : ' ')
          try {
            parseConninfo(`host=h password=${secret} user=u`, {})
          } catch (error) {
            const { message } = error as Error
            const shown = words.filter((one) => new RegExp(`\\b${one}\\b`).test(message))
            // Words of the messages themselves are no disclosure.
            const blank = messageOf('password=x y=z') + messageOf('password=x y z')
            expect(shown.filter((one) => !blank.includes(one))).toEqual([])
          }
        },
      ),
    )
  })

  test('rejects unsupported keywords that a user relies on, and accepts the others', () => {
    for (const text of [
      'require_auth=scram-sha-256',
      'requirepeer=postgres',
      'requiressl=1',
      'sslcrldir=/x',
      'sslcertmode=require',
      'sslsni=0',
      'gssencmode=require',
      'gssdelegation=1',
      'replication=database',
      'min_protocol_version=3.2',
    ]) {
      expect(messageOf(text)).toContain(text.slice(0, text.indexOf('=')))
    }
    for (const text of [
      'channel_binding=prefer gssencmode=disable krbsrvname=postgres sslcompression=0 sslsni=1',
      'client_encoding=UTF8 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=1000',
    ]) {
      parseConninfo(text, {})
    }
  })

  test('rejects TLS settings that contradict each other', () => {
    expect(parseConninfo('sslrootcert=system', {}).tls.mode).toBe('verify-full')
    expect(messageOf('sslrootcert=system sslmode=require')).toMatch(/verify-full, not require/)
    expect(messageOf('sslnegotiation=direct')).toMatch(/require or stricter, not prefer/)
    expect(messageOf('ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2')).toMatch(/higher/)
    expect(messageOf('sslmode=verify')).toMatch(/disable, allow, prefer, require, verify-ca, verify-full/)
    expect(parseConninfo('ssl_min_protocol_version=TLSv1.3', {}).tls.minVersion).toBe('TLSv1.3')
  })

  test('takes missing values from a service file before the environment', () => {
    const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-'))
    try {
      const file = join(folder, 'services')
      writeFileSync(
        file,
        '# ours\n[other]\nhost=o\n[web]\nhost=s\nuser=su\npassword=a b=c\n\n[web2]\nport=9\n',
      )
      const environment = { PGSERVICEFILE: file, PGSERVICE: 'web', PGHOST: 'e', PGPORT: '7' }
      expect(parseConninfo('user=u', environment)).toMatchObject({
        hosts: [{ host: 's', port: 7 }],
        user: 'u',
        password: 'a b=c',
      })
      expect(hostsOf('service=web2', environment)).toEqual(['e 9'])
      expect(messageOf('service=nowhere', environment)).toMatch(/no section \[nowhere\]/)
      expect(messageOf('service=web', { PGSERVICEFILE: join(folder, 'missing') })).toMatch(
        /cannot read .*missing \(ENOENT\)/,
      )
      writeFileSync(file, '[web]\nhost=h\nhunter2=x\n')
      expect(messageOf('service=web', environment)).toMatch(/^option db: service: line 3 of (?!.*hunter2)/)
      writeFileSync(file, '[web]\nsslmode=always\n')
      expect(messageOf('service=web', environment)).toBe(
        `section [web] of ${file}: sslmode: expected one of disable, allow, prefer, require, verify-ca, verify-full, no-verify`,
      )
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

/** With invented passwords and hosts, else as the providers' pages print them. */
describe('connection strings of hosting providers', () => {
  test.each<[string, string, object]>([
    [
      'Neon',
      'postgresql://alex:pw@ep-cool-darkness-a1b2c3d4-pooler.us-east-2.aws.neon.tech/dbname?sslmode=require&channel_binding=require',
      { tls: { mode: 'require', channelBinding: 'require' }, database: 'dbname' },
    ],
    [
      'Neon, for clients without SNI',
      'postgresql://alex:pw@ep-x.neon.tech/d?sslmode=require&options=endpoint%3Dep-x',
      { options: 'endpoint=ep-x' },
    ],
    [
      'Supabase, session mode',
      'postgres://postgres.abcdefgh:pw@aws-0-eu-central-1.pooler.supabase.com:5432/postgres',
      { user: 'postgres.abcdefgh', tls: { mode: 'prefer' } },
    ],
    [
      'Supabase, by Vercel',
      'postgres://postgres.abcdefgh:pw@aws-0-us-east-1.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x',
      { tls: { mode: 'require' } },
    ],
    [
      'Supabase, for Prisma',
      'postgresql://postgres.abcdefgh:pw@aws-0-us-east-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1',
      { tls: { mode: 'prefer' } },
    ],
    [
      'Prisma',
      'postgresql://u:pw@h:5432/d?schema=public&connection_limit=5&pool_timeout=2&socket_timeout=3&statement_cache_size=0&connect_timeout=15',
      { schema: 'public', connectTimeout: 15 },
    ],
    [
      'node-postgres',
      'postgres://u:pw@h/d?uselibpqcompat=true&sslmode=require',
      { tls: { mode: 'require' } },
    ],
    ['node-postgres', 'postgres://u:pw@h/d?sslmode=no-verify', { tls: { mode: 'no-verify' } }],
    [
      'Amazon RDS',
      'host=x.eu-west-1.rds.amazonaws.com port=5432 dbname=d user=u sslrootcert=global-bundle.pem sslmode=verify-full',
      { tls: { mode: 'verify-full', rootCert: 'global-bundle.pem' } },
    ],
    [
      'Azure',
      'postgresql://u%40server:pw@server.postgres.database.azure.com:5432/postgres?sslmode=require',
      { user: 'u@server', tls: { mode: 'require' } },
    ],
    ['Render', 'postgresql://u:pw@dpg-abc-a.oregon-postgres.render.com/d', { database: 'd' }],
    ['Railway', 'postgresql://postgres:pw@monorail.proxy.rlwy.net:12345/railway', { database: 'railway' }],
  ])('works: %s, %s', (_provider, text, expected) => {
    expect(parseConninfo(text, {})).toMatchObject(expected)
  })

  test('Heroku: PGSSLMODE=no-verify in the environment applies to a URL without sslmode', () => {
    const environment = { PGSSLMODE: 'no-verify' }
    expect(
      parseConninfo('postgres://u:pw@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d', environment),
    ).toMatchObject({
      tls: { mode: 'no-verify' },
    })
    expect(parseConninfo('postgres://u:pw@h/d?sslmode=verify-full', environment).tls.mode).toBe('verify-full')
  })

  test.each<[string, string, RegExp]>([
    [
      'uselibpqcompat=false',
      'postgres://u:hunter2@h/d?uselibpqcompat=false&sslmode=require',
      /uselibpqcompat: .*Remove it, and .*sslmode=verify-full/,
    ],
    ['ssl of node-postgres', 'postgres://u:hunter2@h/d?ssl=no-verify', /ssl: .*sslmode=no-verify/],
    ['sslaccept of Prisma', 'postgres://u:hunter2@h/d?sslaccept=strict', /sslaccept: .*sslmode=verify-full/],
    [
      'sslidentity of Prisma',
      'postgres://u:hunter2@h/d?sslidentity=x.p12',
      /sslidentity: .*sslcert and sslkey/,
    ],
    ['currentSchema of JDBC', 'postgres://u:hunter2@h/d?currentSchema=app', /currentSchema: .*option table/],
    [
      'search_path of other drivers',
      'postgres://u:hunter2@h/d?search_path=app',
      /search_path: .*option table/,
    ],
    [
      'channel binding without TLS',
      'postgres://u:hunter2@h/d?sslmode=disable&channel_binding=require',
      /channel_binding=require needs TLS, but sslmode is disable/,
    ],
    ['the placeholder of Supabase', 'postgres://postgres:[YOUR-PASSWORD]@h/d', /placeholder .*YOUR-PASSWORD/],
    ['the psql command of Neon', "psql 'postgresql://u:hunter2@h/d?sslmode=require'", /begins with "psql"/],
    [
      'quotes, as in an .env file that is not parsed',
      '"postgresql://u:hunter2@h/d"',
      /begins with a quotation mark/,
    ],
    [
      'the string for .NET, as of Azure',
      'Server=x.postgres.database.azure.com;Database=postgres;Port=5432;User Id=u;Password=hunter2;Ssl Mode=Require;',
      /for \.NET.*postgresql:\/\//,
    ],
    ['JDBC', 'jdbc:postgresql://h:5432/d?user=u&password=hunter2', /Remove "jdbc:"/],
    ['SQLAlchemy', 'postgresql+psycopg://u:hunter2@h/d', /Remove "\+psycopg"/],
    [
      'Prisma Accelerate',
      'prisma+postgres://accelerate.prisma-data.net/?api_key=hunter2',
      /direct .*postgresql:\/\//,
    ],
  ])('says what to do: %s', (_what, text, message) => {
    const shown = entryMessageOf(text)
    expect(shown).toMatch(/^option db: /)
    expect(shown).toMatch(message)
    expect(shown).not.toContain('hunter2')
  })
})

describe('the message says where a setting comes from', () => {
  test('the variable, and that db overrides it', () => {
    expect(messageOf('postgres://h/d', { PGSSLMODE: 'always' })).toBe(
      'environment variable PGSSLMODE: sslmode: expected one of disable, allow, prefer, require, verify-ca, verify-full, no-verify. Unset the variable, or set sslmode in db, which overrides it',
    )
    expect(messageOf('postgres://h/d', { PGREQUIREAUTH: 'md5' })).toMatch(
      /^environment variable PGREQUIREAUTH: require_auth: .*Unset the variable/,
    )
    expect(messageOf('postgres://h/d', { PGCONNECT_TIMEOUT: 'soon' })).toMatch(
      /^environment variable PGCONNECT_TIMEOUT: connect_timeout: expected a whole number/,
    )
    expect(messageOf('host=a,b', { PGPORT: '1,2,3' })).toMatch(
      /^option db: .*3 values for port \(environment variable PGPORT\), but 2 for host$/,
    )
    expect(messageOf('host=a sslrootcert=system', { PGSSLMODE: 'require' })).toMatch(
      /^option db: sslrootcert=system requires sslmode=verify-full, not require \(environment variable PGSSLMODE\)/,
    )
  })

  test('the given place of the connection string', () => {
    for (const place of ['directive session_pgsql.db', 'environment variable DATABASE_URL']) {
      const message = /: sslmode: expected one of [\w, -]+$/
      expect(() => parseConninfo('host=h sslmode=x', {}, place)).toThrow(message)
      expect(() => parseConninfo('host=h sslmode=x', {}, place)).toThrow(`${place}: sslmode: expected one of`)
      expect(() => parseConninfo('host=h hots=x', {}, place)).toThrow(`${place}: unknown keyword "hots"`)
    }
    expect(parseConninfo('host=h', { PGSSLROOTCERT: '/r' }).originOf('sslrootcert')).toBe(
      'environment variable PGSSLROOTCERT',
    )
    expect(parseConninfo('host=h', {}).originOf('sslrootcert')).toBe('option db')
  })
})
