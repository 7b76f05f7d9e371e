import { execFileSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const NOBODY = 61_999

test('works for a user without a home directory, as a service may have', (ctx) => {
  if (process.getuid?.() !== 0) ctx.skip('only root can run a process as a user without a name')
  const source = `
    import { defaultPassfile } from './packages/session-pgsql/src/conninfo/passfile.ts'
    import { readService } from './packages/session-pgsql/src/conninfo/service-file.ts'
    console.log(defaultPassfile())
    try { readService('none', undefined, {}) } catch (error) { console.log(error.message) }`
  // tsx caches compiled files in the temporary directory.
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-homeless-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  chownSync(folder, NOBODY, NOBODY)
  const { HOME: _, ...env } = process.env
  const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    uid: NOBODY,
    gid: NOBODY,
    env: { ...env, TMPDIR: folder },
    encoding: 'utf8',
  })
  expect(output.split('\n')).toEqual([
    '/.pgpass',
    expect.stringContaining('no section [none] in /.pg_service.conf'),
    '',
  ])
})
