import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url))

/** Installs the packed packages outside of the repository, with their dependencies, as npm would. */
test('runs as packed by npm, and contains the files that its README mentions', async (ctx) => {
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-server-'))
  ctx.onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const modules = join(folder, 'node_modules')
  for (const name of ['session-pgsql', 'session-pgsql-server']) {
    const { stdout } = await run(
      'npm',
      ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
      {
        cwd: join(REPOSITORY, 'packages', name),
      },
    )
    const [packed] = Object.values(JSON.parse(stdout) as Record<string, { filename: string }>)
    await mkdir(join(modules, name), { recursive: true })
    await run('tar', [
      '-xzf',
      join(folder, packed?.filename ?? ''),
      '-C',
      join(modules, name),
      '--strip-components=1',
    ])
  }
  for (const name of ['pg', '@opentelemetry']) {
    await symlink(join(REPOSITORY, 'node_modules', name), join(modules, name))
  }
  const installed = join(modules, 'session-pgsql-server')
  expect((await readdir(installed)).sort()).toEqual([
    'LICENSE',
    'README.md',
    'bin',
    'dist',
    'package.json',
    'php',
  ])
  expect((await readdir(join(installed, 'php'))).sort()).toEqual(['session_pgsql.php'])

  const main = join(installed, 'bin/session-pgsql-server.js')
  // npx runs the file itself, by its first line.
  const { stdout: version } = await run(main, ['--version'])
  expect(version).toMatch(/^\d+\.\d+\.\d+/)
  const { stdout: help } = await run(main, ['gateway', '--help'])
  expect(help).toContain('session.save_path')
  const source = `import { startGateway } from 'session-pgsql-server/gateway'
    import { SaveHandler } from 'session-pgsql'
    const sessions = new SaveHandler({ db: 'host=localhost', codec: 'php', idPattern: 'php' })
    const gateway = await startGateway({ sessions, port: 0 })
    await gateway.close()
    await sessions.close()
    console.log('ended')`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', source], { cwd: folder })
  expect(stdout).toBe('ended\n')
})
