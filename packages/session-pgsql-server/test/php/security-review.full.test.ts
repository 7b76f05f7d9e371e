import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { runHere } from '../../../session-pgsql/test/cli/command-line.ts'
import { blocksOf } from '../../../session-pgsql/test/docs/blocks.ts'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import type { Ini, Php, PhpAnswer, Visitor } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

/** Runs the configuration of docs/security-review.md, as it is on the page. */

const blocks = blocksOf(fileURLToPath(new URL('../../../../docs/security-review.md', import.meta.url)))
const functions = fileURLToPath(new URL('../../php/session_pgsql.php', import.meta.url))
const KEYS = `1:${Buffer.alloc(32, 7).toString('base64')}`

function block(language: string): string {
  return blocks.find((one) => one.heading === 'PHP' && one.language === language)?.code as string
}

/** The lines of the page's php.ini, with the port of the tests' gateway. */
function iniOf(port: number): Ini {
  const lines = block('ini').replace(':6380', `:${port}`).split('\n')
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = '', value = ''] = /^(\S+) = "?(.*?)"?$/.exec(line) ?? []
      return [name, value]
    }),
  )
}

const SCRIPT = `<?php
require '${functions}';
function user_by_password(string $name, string $password): ?string
{
    return $password === "$name knows" ? $name : null;
}
${block('php')}
switch ($_GET['do']) {
    case 'login':
        echo json_encode(login($_GET['user'], $_GET['password']));
        break;
    case 'logout':
        logout();
        break;
    case 'show':
        session_start();
        echo json_encode(['user' => $_SESSION['user'] ?? null, 'recent' => authenticated_within(300)]);
}
`

describeWithPhp('the configuration for PHP in docs/security-review.md', (place) => {
  let db: string
  let php: Php
  /** PHP with a gateway of its own, on the same table. */
  let other: Php

  beforeAll(async () => {
    db = await place.database()
    const root = await mkdtemp(join(tmpdir(), 'session-pgsql-review-'))
    place.after(() => rm(root, { recursive: true, force: true }))
    await writeFile(join(root, 'site.php'), SCRIPT)
    const [, flags = ''] = /^session-pgsql-server gateway (.*)$/m.exec(block('sh')) ?? []
    const start = async () => {
      const argv = flags.split(' ')
      const { port } = await place.gateway({ db, argv, env: { SESSION_PGSQL_ENCRYPTION_KEYS: KEYS } })
      return place.php({ ini: iniOf(port), root })
    }
    php = await start()
    other = await start()
  })
  afterEach(() => command('destroy', '--all', '--yes'))

  const command = async (...[name = '', ...argv]: string[]) => {
    const ran = await runHere([name, '--db', db, '--ids', 'hashed', '--json', ...argv], {
      environment: { SESSION_PGSQL_ENCRYPTION_KEYS: KEYS, SESSION_PGSQL_MAX_LIFETIME: '43200' },
    })
    expect([ran.stderr, ran.code]).toEqual(['', 0])
    return JSON.parse(ran.stdout)
  }
  const login = (visitor: Visitor, user = 'ada', password = `${user} knows`): Promise<PhpAnswer> =>
    visitor.visit('site.php', { query: { do: 'login', user, password } })
  const loggedIn = async (user = 'ada', at = php): Promise<Visitor> => {
    const visitor = at.visitor()
    expect((await login(visitor, user)).text).toBe('true')
    return visitor
  }
  const shown = async (visitor: Visitor) =>
    JSON.parse((await visitor.visit('site.php', { query: { do: 'show' } })).text)
  const user = async (visitor: Visitor): Promise<string | null> => (await shown(visitor)).user
  const change = (assignment: string) =>
    queryOnce(db, `UPDATE php_session SET ${assignment} WHERE sess_id <> 'h1:'`)

  test('sets a cookie that scripts and other hosts cannot use', async () => {
    const answer = await login(php.visitor())
    const header = answer.cookies.at(-1) as string
    expect(header).toMatch(/^__Host-sid=[A-Za-z0-9,-]{32,};/)
    for (const attribute of [/; path=\/(;|$)/i, /; HttpOnly/i, /; secure/i, /; SameSite=Lax/i]) {
      expect(header).toMatch(attribute)
    }
    expect(header).not.toMatch(/domain/i)
    expect(answer.headers.find(([name]) => name === 'Cache-Control')?.[1]).toContain('no-store')
  })

  test('gives a new id at each login and ends the old one', async () => {
    expect((await login(php.visitor(), 'ada', 'wrong')).text).toBe('false')
    const visitor = await loggedIn()
    const old = visitor.clone(other)
    expect(await shown(old)).toEqual({ user: 'ada', recent: true })
    await login(visitor)
    expect(visitor.cookies.get('__Host-sid')).not.toBe(old.cookies.get('__Host-sid'))
    expect(await user(visitor)).toBe('ada')
    expect(await user(old)).toBeNull()
    const chosen = php.visitor()
    chosen.cookies.set('__Host-sid', 'chosen-by-somebody-else-0123456789')
    await login(chosen)
    expect(chosen.cookies.get('__Host-sid')).not.toContain('chosen')
  })

  test('ends a session that is not used', async () => {
    const visitor = await loggedIn()
    expect(await user(visitor)).toBe('ada')
    // The gateway may still send the expiry of the request before.
    await eventually(async () => {
      await change('sess_expire = sess_expire - 1802')
      expect(await user(visitor)).toBeNull()
    })
  })

  test('ends a session that is used', async () => {
    const visitor = await loggedIn()
    await change('sess_began = sess_began - 43100')
    expect(await user(visitor)).toBe('ada')
    await change('sess_began = sess_began - 101')
    expect(await user(visitor)).toBeNull()
  })

  test('a logout counts in every process', async () => {
    const visitor = await loggedIn()
    const copy = visitor.clone(other)
    expect(await user(copy)).toBe('ada')
    const again = visitor.clone()
    await visitor.visit('site.php', { query: { do: 'logout' } })
    expect(visitor.cookies.has('__Host-sid')).toBe(false)
    for (const late of [copy, again]) expect(await user(late)).toBeNull()
  })

  test('an administrator lists and ends all sessions of a user', async () => {
    const [laptop, phone, bob] = [await loggedIn(), await loggedIn('ada', other), await loggedIn('bob')]
    expect((await command('list', '--field', 'ada')).sessions).toHaveLength(2)
    await command('destroy', '--field', 'ada')
    expect([await user(laptop), await user(phone), await user(bob)]).toEqual([null, null, 'bob'])
  })

  test('leaves nothing open but the superuser of the tests', async () => {
    await loggedIn()
    const { findings } = (await command('doctor', '--security')).servers[0]
    expect(
      findings
        .filter(({ level }: { level: string }) => level !== 'ok')
        .map(({ check }: { check: string }) => check),
    ).toEqual(['superuser'])
  })
})
