import { existsSync } from 'node:fs'
import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { startPostgres } from '../../../session-pgsql/test/support/postgres.ts'
import type { PhpAnswer } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

/** Adminer as Debian packages it, unmodified: a web interface to a database, with a login of its own. */
const FOLDER = '/etc/adminer'
const missing = existsSync(`${FOLDER}/conf.php`)
  ? undefined
  : "Debian's package adminer is not installed: no real application was tested"

describeWithPhp('Adminer with its sessions in PostgreSQL', (place) => {
  test('keeps its login across a restart of the database, until the logout', {
    timeout: 120_000,
  }, async (ctx) => {
    ctx.skip(missing !== undefined, missing)
    const server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    place.after(() => server.remove())
    const db = server.url('postgres')
    const gateway = await place.gateway({ db })
    const php = await place.php({
      // Adminer 4.8 uses what PHP 8.2 deprecates.
      ini: { ...gateway.ini('prefix=adminer_sid:'), error_reporting: 'E_ALL & ~E_DEPRECATED' },
      root: FOLDER,
    })
    const browser = php.visitor('203.0.113.9')
    const get = async (query: string): Promise<PhpAnswer> => {
      const answer = await browser.visit('conf.php', { query: new URLSearchParams(query) })
      return answer.status === 302 ? get(locationOf(answer)) : answer
    }
    const post = (query: string, form: Record<string, string>) =>
      browser.visit('conf.php', {
        method: 'POST',
        query: new URLSearchParams(query),
        body: new URLSearchParams(form).toString(),
      })

    const loginPage = await get('')
    expect(loginPage.text).toContain('name="auth[username]"')
    const idBefore = browser.cookies.get('adminer_sid')
    const loggedIn = await post('', {
      'auth[driver]': 'pgsql',
      'auth[server]': `127.0.0.1:${server.port}`,
      'auth[username]': 'postgres',
      'auth[password]': 'secret of the tests',
      'auth[db]': 'postgres',
    })
    const home = locationOf(loggedIn)
    expect(browser.cookies.get('adminer_sid')).not.toBe(idBefore)

    // The session table, browsed with the session that it contains.
    expect((await get(home)).text).toContain('php_session')
    const rows = await get(`${home}&ns=public&select=php_session`)
    expect(rows.text).toContain(browser.cookies.get('adminer_sid'))

    await server.restart()
    const after = await get(`${home}&ns=public&table=php_session`)
    expect(after.text).toContain('sess_addr_created')
    expect(after.text).not.toContain('Warning')

    // A statement, with the token that Adminer stores in the session.
    const sql = await post(`${home}&ns=public&sql=`, {
      query: 'SELECT 6 * 7 AS answer',
      token: tokenOf(after),
    })
    expect(sql.text).toContain('<td>42')
    const history = await get(`${home}&ns=public&sql=`)
    expect(history.text).toContain('SELECT 6 * 7 AS answer')

    const [row] = await queryOnce<{ sess_name: string; sess_data: string }>(
      db,
      'SELECT sess_name, sess_data FROM php_session WHERE sess_id = $1',
      [browser.cookies.get('adminer_sid')],
    )
    expect(row?.sess_name).toBe('adminer_sid')
    const sessions = new SaveHandler<{ token: number }>({ db, codec: 'php', gcInterval: 0 })
    place.after(() => sessions.close())
    const session = await sessions.read(browser.cookies.get('adminer_sid') as string)
    expect(session?.data.token).toBeGreaterThan(0)

    await post(home, { logout: 'Logout', token: tokenOf(history) })
    expect((await get(home)).text).toContain('name="auth[password]"')
  })
})

function locationOf(answer: PhpAnswer): string {
  const location = answer.headers.find(([name]) => name === 'Location')?.[1]
  if (location === undefined)
    throw new Error(`Expected a redirect, received ${answer.status}: ${answer.text}`)
  return location.slice(location.indexOf('?') + 1)
}

function tokenOf({ text }: PhpAnswer): string {
  return /name=['"]token['"] value=['"]([\d:]+)['"]/.exec(text)?.[1] ?? ''
}
