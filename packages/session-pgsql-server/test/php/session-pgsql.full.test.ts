import { fileURLToPath } from 'node:url'
import { SaveHandler } from 'session-pgsql'
import { beforeAll, describe, expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import type { Gateway } from './kit/gateway.ts'
import type { Php, Visitor } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

const file = fileURLToPath(new URL('../../php/session_pgsql.php', import.meta.url))
const SCRIPT = 'session_pgsql.php'

describeWithPhp("session_pgsql's functions in PHP", (place) => {
  let db: string
  let gateway: Gateway
  let php: Php
  beforeAll(async () => {
    db = await place.database()
    gateway = await place.gateway({ db })
    php = await place.php({ ini: gateway.ini() })
  })

  async function signedIn(): Promise<Visitor> {
    const visitor = php.visitor('203.0.113.7')
    await visitor.visit(SCRIPT, { query: { start: 1, set: 'user' } })
    return visitor
  }

  test('session_pgsql_status() shows settings and servers, and no password', async () => {
    const { result, warnings } = await call(php.visitor(), 'status', [], false)
    expect(warnings).toBe('')
    expect(JSON.stringify(result)).toContain('127.0.0.1')
    expect(JSON.stringify(result)).not.toContain('password')
  })

  test('session_pgsql_info() returns the metadata of the session', async () => {
    const visitor = await signedIn()
    const { result, warnings } = await call(visitor, 'info')
    expect(warnings).toBe('')
    expect(result).toMatchObject({
      'Session ID': visitor.cookies.get('PHPSESSID'),
      Errors: 0,
      Warnings: 0,
      Notices: 0,
      'Address Created': '203.0.113.7',
      Custom: null,
    })
    const { Accesses, Created, Modified, Expires } = result as Record<string, number>
    expect(Accesses).toBeGreaterThanOrEqual(1)
    expect(Modified).toBeGreaterThanOrEqual(Created as number)
    expect(Expires).toBeGreaterThan(Math.floor(Date.now() / 1000) + 600)
  })

  test('session_pgsql_set_field() stores the field that _get_field() and Node read', async () => {
    const visitor = await signedIn()
    expect((await call(visitor, 'get_field')).result).toBe(null)
    expect(await call(visitor, 'set_field', ['user-17'])).toEqual({ result: true, warnings: '' })
    expect(await call(visitor, 'get_field')).toEqual({ result: 'user-17', warnings: '' })
    // As a list of a user's devices would, in Node.
    const sessions = new SaveHandler({ db, codec: 'php', gcInterval: 0 })
    place.after(() => sessions.close())
    const [found] = await sessions.findByField('user-17')
    expect(found?.id).toBe(visitor.cookies.get('PHPSESSID'))
    expect(found?.data).toEqual({ user: 1 })
    expect(await call(visitor, 'set_field', [null])).toEqual({ result: true, warnings: '' })
    expect((await call(visitor, 'get_field')).result).toBe(null)
  })

  test('session_pgsql_set_field() works in the request that creates the session', async () => {
    const visitor = php.visitor()
    expect(await call(visitor, 'set_field', ['new'], true, { set: 'user' })).toEqual({
      result: true,
      warnings: '',
    })
    expect((await call(visitor, 'get_field')).result).toBe('new')
    await visitor.visit(SCRIPT, { query: { start: 1, set: 'more' } })
    expect((await call(visitor, 'get_field')).result).toBe('new')
    const [row] = await queryOnce<{ sess_data: string }>(
      db,
      'SELECT sess_data FROM php_session WHERE sess_id = $1',
      [visitor.cookies.get('PHPSESSID')],
    )
    expect(row?.sess_data).toBe('user|i:1;more|i:1;')
  })

  test('session_pgsql_add_error() adds to the counters that _get_error() returns', async () => {
    const visitor = await signedIn()
    const E_USER_WARNING = 512
    for (const given of [['error', 'first'], ['notice'], [E_USER_WARNING, 'the last: é'], ['error']]) {
      expect(await call(visitor, 'add_error', given)).toEqual({ result: true, warnings: '' })
    }
    const counts = { Errors: 2, Warnings: 1, Notices: 1 }
    expect((await call(visitor, 'get_error')).result).toEqual(counts)
    expect((await call(visitor, 'get_error', [true])).result).toEqual({
      ...counts,
      'Error Message': 'the last: é',
    })
    const { text } = await visitor.visit(SCRIPT, {
      query: { start: 1, call: 'add_error', arguments: JSON.stringify(['panic']) },
    })
    expect(text).toContain("must be 'error', 'warning', 'notice', or one of PHP's levels")
  })

  test('session_pgsql_reset() reconnects', async () => {
    expect(await call(php.visitor(), 'reset', [], false)).toEqual({ result: true, warnings: '' })
    const visitor = await signedIn()
    expect((await call(visitor, 'get_field')).result).toBe(null)
  })

  test('warn if no session is active', async () => {
    const { result, warnings } = await call(php.visitor(), 'info', [], false)
    expect(result).toBe(false)
    expect(warnings).toContain('no session is active')
  })

  describe('prepended to every script', () => {
    test("store the client's address without a change to the script", async () => {
      const prepended = await place.php({ ini: { ...gateway.ini(), auto_prepend_file: file } })
      const visitor = prepended.visitor('2001:db8::7')
      const path = 'overlap.php'
      await visitor.visit(path, { query: { do: 'set', key: 'user' } })
      const addresses = async () => {
        const [row] = await queryOnce(
          db,
          'SELECT sess_addr_created, sess_addr_modified FROM php_session WHERE sess_id = $1',
          [visitor.cookies.get('PHPSESSID')],
        )
        return row
      }
      expect(await addresses()).toEqual({
        sess_addr_created: '2001:db8::7',
        sess_addr_modified: '2001:db8::7',
      })
      await visitor.visit(path, { query: { do: 'set', key: 'more' }, address: '203.0.113.8' })
      expect(await addresses()).toEqual({
        sess_addr_created: '2001:db8::7',
        sess_addr_modified: '203.0.113.8',
      })
      // Sending the address does not restore a destroyed session.
      await visitor.visit(path, { query: { do: 'destroy' } })
      expect(await addresses()).toBeUndefined()
    })
  })

  test('warn and return false while the gateway is unreachable', async () => {
    const other = await place.gateway({ db })
    const through = await place.php({ ini: other.ini() })
    await other.stop()
    const { result, warnings } = await call(through.visitor(), 'status', [], false)
    expect(result).toBe(false)
    expect(warnings).toContain('session_pgsql: SESSION.STATUS:')
  })
})

/** Calls `session_pgsql_${name}`. */
async function call(
  visitor: Visitor,
  name: string,
  given: readonly unknown[] = [],
  inSession = true,
  more: Readonly<Record<string, string | number>> = {},
): Promise<{ result: unknown; warnings: string }> {
  const { text } = await visitor.visit(SCRIPT, {
    query: { ...(inSession ? { start: 1 } : {}), ...more, call: name, arguments: JSON.stringify(given) },
  })
  return JSON.parse(text)
}
