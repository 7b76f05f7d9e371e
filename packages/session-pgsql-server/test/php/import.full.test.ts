import { mkdir, readdir, rename, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runHere } from '../../../session-pgsql/test/cli/command-line.ts'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { shown, signedIn } from './kit/gate.ts'
import { startRedis } from './kit/peers.ts'
import type { Php, Visitor } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

/** A PHP site's sessions move to the gateway's table by `session-pgsql import`, while the site runs. */
describeWithPhp('session-pgsql import from PHP', (place) => {
  async function newSite() {
    const db = await place.database()
    const gateway = await place.gateway({ db })
    return { db, after: await place.php({ ini: gateway.ini() }) }
  }

  const counts = { moved: 0, renewed: 0, removed: 0, already: 0, expired: 0, unreadable: 0 }

  async function run(db: string, from: string, source: string, ...options: string[]) {
    const argv = ['import', '--db', db, '--from', from, '--source', source, '--json', ...options]
    const { code, stdout, stderr } = await runHere(argv)
    expect(stderr).toBe('')
    return { code, ...JSON.parse(stdout) }
  }

  async function signedInVisitors(php: Php, count: number): Promise<Visitor[]> {
    return Promise.all(Array.from({ length: count }, () => signedIn(php)))
  }

  const set = (visitor: Visitor, value: string) =>
    visitor.visit('overlap.php', { query: { do: 'set', key: 'cart', value } })

  const idOf = (visitor: Visitor) => visitor.cookies.get('PHPSESSID') as string

  test('php-files: users stay logged in, and a second run follows the old site, not what was used here', async () => {
    const { db, after } = await newSite()
    const before = await place.php({ ini: { 'session.save_handler': 'files' } })
    const visitors = await signedInVisitors(before, 20)
    const folder = join(before.folder, 'sessions')
    const [expired, ended, usedThere, usedHere, binary] = visitors as [
      Visitor,
      Visitor,
      Visitor,
      Visitor,
      Visitor,
    ]
    const fileOf = (visitor: Visitor) => join(folder, `sess_${idOf(visitor)}`)
    await utimes(fileOf(expired), 0, 0)
    const bytes = Buffer.from('user|s:3:"ada";blob|s:2:"\xff\0";', 'latin1')
    await writeFile(fileOf(binary), bytes)
    await writeFile(join(folder, 'sess_damaged'), 'user|s:30:"cut')
    expect(await run(db, 'php-files', folder, '--field-from', 'user')).toMatchObject({
      ...counts,
      ...{ code: 1, moved: 19, expired: 1, unreadable: 1 },
    })
    const [row] = await queryOnce<{ left: number; name: string; custom: string }>(
      db,
      'SELECT max(sess_expire) - extract(epoch FROM now())::bigint AS left, min(sess_name) AS name, min(sess_custom) AS custom FROM php_session',
    )
    expect(Number(row?.left)).toBeGreaterThan(1300)
    expect(row).toMatchObject({ name: 'PHPSESSID', custom: 'ada' })

    await set(usedThere, 'there')
    await set(usedHere.clone(after), 'here')
    await set(usedHere, 'there')
    await utimes(fileOf(ended), 0, 0)
    expect(await run(db, 'php-files', folder, '--field-from', 'user')).toMatchObject({
      ...{ renewed: 1, removed: 1, already: 17, unreadable: 1 },
    })
    for (const visitor of visitors.slice(5))
      expect(await shown(visitor.clone(after))).toEqual({ user: 'ada' })
    expect(await shown(expired.clone(after))).toEqual({})
    expect(await shown(usedThere.clone(after))).toEqual({ user: 'ada', cart: 'there' })
    expect(await shown(usedHere.clone(after))).toEqual({ user: 'ada', cart: 'here' })
    const stored = await queryOnce(db, 'SELECT 1 FROM php_session WHERE sess_id = $1', [idOf(binary)])
    expect(stored).toHaveLength(1)
  })

  test('php-files: a session whose file is gone ends here, also in subfolders', async () => {
    const { db, after } = await newSite()
    const before = await place.php({ ini: { 'session.save_handler': 'files' } })
    const [stays, ends] = (await signedInVisitors(before, 2)) as [Visitor, Visitor]
    const folder = join(before.folder, 'sessions')
    expect(await run(db, 'php-files', folder)).toMatchObject({ ...counts, code: 0, moved: 2 })
    await ends.visit('overlap.php', { query: { do: 'destroy' } })
    expect(await readdir(folder)).toEqual([`sess_${idOf(stays)}`])
    // As with session.save_path = "1;/folder".
    const id = idOf(stays)
    await mkdir(join(folder, id[0] as string))
    await rename(join(folder, `sess_${id}`), join(folder, id[0] as string, `sess_${id}`))
    expect(await run(db, 'php-files', folder)).toMatchObject({ ...counts, removed: 1, already: 1 })
    expect(await shown(stays.clone(after))).toEqual({ user: 'ada' })
  })

  test('php-files: a folder that cannot be read is an error that says what to do', async () => {
    const { code, stderr } = await runHere([
      ...['import', '--db', await place.database(), '--from', 'php-files', '--source', '/nowhere'],
    ])
    expect(code).toBe(2)
    expect(stderr).toMatch(/Cannot read the sessions in \/nowhere \(ENOENT\).*session\.save_path/s)
  })

  test('phpredis: users stay logged in, with the bytes that PHP wrote', async (ctx) => {
    const redis = await startRedis().catch(() => undefined)
    ctx.skip(redis === undefined, 'redis-server is not installed: nothing was imported from Redis')
    if (redis === undefined) return
    place.after(() => redis.program.stop())
    const { db, after } = await newSite()
    const path = `tcp://127.0.0.1:${redis.port}?database=3`
    const ini = {
      'session.save_handler': 'redis',
      'session.save_path': path,
      'redis.session.locking_enabled': 1,
    }
    const before = await place.php({ ini })
    const visitors = await signedInVisitors(before, 20)
    expect(await run(db, 'phpredis', path)).toMatchObject({ ...counts, code: 0, moved: 20 })
    const [there] = visitors as [Visitor]
    await set(there, 'there')
    expect(await run(db, 'phpredis', path)).toMatchObject({ ...counts, renewed: 1, already: 19 })
    expect(await shown(there.clone(after))).toEqual({ user: 'ada', cart: 'there' })
    for (const visitor of visitors.slice(1))
      expect(await shown(visitor.clone(after))).toEqual({ user: 'ada' })
  })
})
