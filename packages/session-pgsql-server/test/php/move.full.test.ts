import { spawnSync } from 'node:child_process'
import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { shown, signedIn } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import { startRedis } from './kit/peers.ts'
import type { Ini } from './kit/php.ts'
import { describeWithPhp } from './kit/place.ts'

const script = fileURLToPath(new URL('../../php/move_sessions.php', import.meta.url))

describeWithPhp('move_sessions.php', (place) => {
  test('copies sessions from files without those that have expired, and skips them the second time', async () => {
    const db = await place.database()
    const gateway = await place.gateway({ db })
    const before = await place.php({ ini: { 'session.save_handler': 'files' } })
    const visitors = await Promise.all(Array.from({ length: 20 }, () => signedIn(before)))
    const folder = join(before.folder, 'sessions')
    const [expired] = (await readdir(folder)).sort()
    await utimes(join(folder, expired as string), 0, 0)

    expect(move(folder, gateway)).toBe('moved: 19, skipped: 0 (already stored)\n')
    expect(move(folder, gateway)).toBe('moved: 0, skipped: 19 (already stored)\n')
    const after = await place.php({ ini: gateway.ini() })
    for (const visitor of visitors) {
      const hasExpired = `sess_${visitor.cookies.get('PHPSESSID')}` === expired
      expect(await shown(visitor.clone(after))).toEqual(hasExpired ? {} : { user: 'ada' })
    }
    const [row] = await queryOnce<{ left: number; sess_name: string }>(
      db,
      'SELECT max(sess_expire) - extract(epoch FROM now())::bigint AS left, min(sess_name) AS sess_name FROM php_session',
    )
    expect(Number(row?.left)).toBeGreaterThan(1300)
    expect(row?.sess_name).toBe('PHPSESSID')
  })

  test('copies sessions from Redis', async (ctx) => {
    const redis = await startRedis().catch(() => undefined)
    ctx.skip(redis === undefined, 'no redis-server on this machine: nothing was copied from Redis')
    if (redis === undefined) return
    place.after(() => redis.program.stop())
    const gateway = await place.gateway({ db: await place.database() })
    const from: Ini = {
      'session.save_handler': 'redis',
      'session.save_path': `tcp://127.0.0.1:${redis.port}?database=3`,
    }
    const before = await place.php({ ini: from })
    const visitors = await Promise.all(Array.from({ length: 20 }, () => signedIn(before)))
    expect(move(String(from['session.save_path']), gateway)).toBe('moved: 20, skipped: 0 (already stored)\n')
    const after = await place.php({ ini: gateway.ini() })
    for (const visitor of visitors) expect(await shown(visitor.clone(after))).toEqual({ user: 'ada' })
  })

  test('exits with 1 and a message if it cannot connect, and with 2 without arguments', async () => {
    const gateway = await place.gateway({ db: await place.database() })
    await gateway.stop()
    const { status, stderr } = run('/nowhere', gateway)
    expect(status).toBe(1)
    expect(stderr).toContain('move_sessions: ')
    expect(spawnSync('php', [script]).status).toBe(2)
  })
})

function move(from: string, gateway: Gateway): string {
  const { stdout, stderr } = run(from, gateway)
  expect(stderr).toBe('')
  return stdout
}

function run(from: string, gateway: Gateway): { status: number | null; stdout: string; stderr: string } {
  const to = String(gateway.ini()['session.save_path'])
  return spawnSync('php', ['-d', 'display_errors=stderr', script, from, to], {
    encoding: 'utf8',
    timeout: 60_000,
  })
}
