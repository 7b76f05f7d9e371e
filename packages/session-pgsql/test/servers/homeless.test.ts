import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'

test('a user who has no home, as a service may have none, has no files there, and that is no failure', (ctx) => {
  if (process.getuid?.() !== 0) ctx.skip('only root can be somebody whom nobody knows')
  const source = `
    import { defaultPassfile } from './packages/session-pgsql/src/servers/passfile.ts'
    import { readService } from './packages/session-pgsql/src/servers/service-file.ts'
    console.log(defaultPassfile())
    try { readService('none', undefined, {}) } catch (error) { console.log(error.message) }`
  const { HOME: _, ...env } = process.env
  const nobody = { uid: 61_999, gid: 61_999, env, encoding: 'utf8' } as const
  const output = execFileSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', source],
    nobody,
  )
  expect(output.split('\n')).toEqual([
    '/.pgpass',
    expect.stringContaining('no section [none] in /.pg_service.conf'),
    '',
  ])
})
